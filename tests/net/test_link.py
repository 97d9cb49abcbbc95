"""Links: messages arrive whole and in order, and nothing is left behind."""

import asyncio
import logging
import signal
import sys
from functools import partial
from itertools import pairwise

from clustersession.net import link as link_module
from clustersession.net.link_server import Link, LinkLimits, dial
from tests.net.link_peers import QUICK, ignore, peer


def test_messages_arrive_whole_and_in_order(run, tls, until) -> None:
    sent = [b"", b"a", b"b" * 100, b"c" * 70_000, b"d" * 3_000_000, b"end"]

    async def scenario() -> None:
        async with peer(tls, echo=True) as server:
            link = await server.dial(tls)
            assert link.hello == "server"
            received: list[bytes] = []
            link.start(lambda link, payload: received.append(payload), ignore)
            for payload in sent:
                link.send(payload)
            await until(lambda: len(received) == len(sent))
            assert received == server.messages == sent
            assert server.links[0].hello == "client"
            assert server.links[0].peer_address[0] == "127.0.0.1"
            assert link.peer_address == server.server.address
            assert link.pending_bytes == 0
            assert server.server.unauthenticated == 0
            link.close()
            await link.wait_closed()

    run(scenario())


def test_what_comes_before_the_start_waits(run, tls, until) -> None:
    async def scenario() -> None:
        async with peer(tls) as server:
            link = await server.dial(tls)
            await until(lambda: server.links)
            for n in range(500):
                server.links[0].send(b"%d" % n + b"." * 2000)
            await until(lambda: server.links[0].pending_bytes == 0)
            received: list[bytes] = []
            link.start(lambda link, payload: received.append(payload), ignore)
            await until(lambda: len(received) == 500)
            assert [int(payload.rstrip(b".")) for payload in received] == list(range(500))
            link.close()
            await link.wait_closed()

    run(scenario())


def test_a_link_lost_before_the_start_is_reported_at_the_start(run, tls, until) -> None:
    async def scenario() -> None:
        async with peer(tls) as server:
            link = await server.dial(tls)
            link.abort("enough")
            await link.wait_closed()
            reasons: list[str] = []
            link.start(ignore, lambda link, reason: reasons.append(reason))
            await until(lambda: reasons)
            assert reasons == ["enough"]

    run(scenario())


def test_closing_delivers_what_was_sent_and_is_reported_once(run, tls, until) -> None:
    async def scenario() -> None:
        async with peer(tls) as server:
            link = await server.dial(tls)
            reasons: list[str] = []
            link.start(ignore, lambda link, reason: reasons.append(reason))
            for _ in range(20):
                link.send(b"x" * 100_000)
            link.close("that is all")
            link.close("again")
            link.send(b"too late")
            await link.wait_closed()
            await until(lambda: server.closed)
            assert server.messages == [b"x" * 100_000] * 20
            assert reasons == ["that is all"]
            assert len(server.closed) == 1
            assert link.is_closed
            assert link.close_reason == "that is all"

    run(scenario())


def test_a_peer_killed_is_noticed_at_once(run, tls, until) -> None:
    code = """
import asyncio, sys
from clustersession.net.link_server import dial
from clustersession.net.tls import tls_contexts
from clustersession.wire.keys import ClusterKeys
async def main():
    tls = tls_contexts(ClusterKeys.derive(["the secret"], "shop")).client
    link = await dial("127.0.0.1", int(sys.argv[1]), tls, b"child", bytes.decode, 10)
    link.start(lambda *_: None, lambda *_: None)
    await asyncio.sleep(60)
asyncio.run(main())
"""

    async def scenario() -> None:
        async with peer(tls, limits=LinkLimits()) as server:
            port = str(server.server.address[1])
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, port)
            try:
                await until(lambda: server.links)
                child.send_signal(signal.SIGKILL)
                async with asyncio.timeout(5):
                    await server.links[0].wait_closed()
                await until(lambda: server.closed)
            finally:
                await child.wait()

    run(scenario())


def test_an_error_in_a_handler_closes_only_that_link(run, tls, until, caplog) -> None:
    async def scenario() -> None:
        async with peer(tls, echo=True) as server:
            bad, good = await server.dial(tls), await server.dial(tls)
            reasons: list[str] = []
            received: list[bytes] = []

            def fail(link: Link, payload: bytes) -> None:
                raise ZeroDivisionError

            bad.start(fail, lambda link, reason: reasons.append(reason))
            good.start(lambda link, payload: received.append(payload), ignore)
            bad.send(b"one")
            bad.send(b"two")
            await until(lambda: reasons)
            good.send(b"still here")
            await until(lambda: received)
            assert reasons == ["a message could not be handled"]
            good.close()
            await good.wait_closed()

    with caplog.at_level(logging.ERROR, "clustersession.net"):
        run(scenario())
    assert len([r for r in caplog.records if r.name == "clustersession.net"]) == 1


def test_a_frame_too_long_closes_the_link(run, tls, until) -> None:
    async def scenario() -> None:
        small = LinkLimits(frame_bytes_max=1000)
        async with peer(tls, limits=small) as server:
            link = await server.dial(tls)
            link.start(ignore, ignore)
            link.send(b"x" * 1000)
            link.send(b"x" * 1001)
            await until(lambda: server.closed)
            assert server.closed == ["a frame of 1001 bytes exceeds the limit of 1000"]
            assert server.messages in ([], [b"x" * 1000])
            await link.wait_closed()

    run(scenario())


def test_a_hopelessly_slow_peer_is_given_up(run, tls, until) -> None:
    async def scenario() -> None:
        async with peer(tls, start=False) as server:
            link = await server.dial(tls, LinkLimits(pending_bytes_max=8 * 2**20))
            reasons: list[str] = []
            link.start(ignore, lambda link, reason: reasons.append(reason))
            highest = 0
            for _ in range(200):
                link.send(b"x" * 2**20)
                highest = max(highest, link.pending_bytes)
                await asyncio.sleep(0)
                if reasons:
                    break
            await until(lambda: reasons)
            assert "too slow" in reasons[0]
            assert highest <= 9 * 2**20
            server.links[0].abort("done")

    run(scenario())


def test_one_turn_of_a_burst_is_bounded_too(run, tls, until) -> None:
    async def scenario() -> None:
        async with peer(tls) as server:
            link = await server.dial(tls, LinkLimits(pending_bytes_max=10_000))
            link.start(ignore, ignore)
            for _ in range(20):
                link.send(b"x" * 1000)
            assert link.is_closed
            assert link.pending_bytes == 0
            await link.wait_closed()

    run(scenario())


def test_the_bytes_on_the_wire_are_not_readable(run, tls, until) -> None:
    seen = bytearray()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            seen.extend(data)
            writer.write(data)
        writer.close()

    async def relay(port: int, reader, writer) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))

    async def scenario() -> None:
        async with peer(tls, echo=True) as server:
            middle = await asyncio.start_server(
                partial(relay, server.server.address[1]), "127.0.0.1", 0
            )
            link = await dial(
                *middle.sockets[0].getsockname(), tls.client, b"x", bytes.decode, 5, QUICK
            )
            received: list[bytes] = []
            link.start(lambda link, payload: received.append(payload), ignore)
            link.send(b"a user's name")
            await until(lambda: received)
            link.close()
            await link.wait_closed()
            middle.close()
            await until(lambda: server.closed)
        assert b"a user's name" not in seen
        assert len(seen) > 100

    run(scenario())


def test_many_messages_that_take_long_leave_the_event_loop_to_others(
    run, tls, until, monkeypatch
) -> None:
    monkeypatch.setattr(link_module, "TURN_S", 0.0)
    sent = [b"%d" % number for number in range(50)]

    async def scenario() -> None:
        async with peer(tls, echo=True) as server:
            link = await server.dial(tls)
            received: list[bytes] = []
            turns: list[int] = []

            def on_message(link: Link, payload: bytes) -> None:
                received.append(payload)
                asyncio.get_running_loop().call_soon(lambda: turns.append(len(received)))

            link.start(on_message, ignore)
            for payload in sent:
                link.send(payload)
            await until(lambda: len(turns) == len(sent))
            assert received == sent
            assert max(after - before for before, after in pairwise([0, *turns])) <= 2
            link.close()
            await link.wait_closed()

    run(scenario())


def test_messages_that_somebody_waits_for_pass_those_that_may_be_passed(
    run, tls, until, monkeypatch
) -> None:
    monkeypatch.setattr(link_module, "TURN_S", 0.0)
    many = [b"part %d" % number for number in range(50)]
    sent = [*many, b"now 1", b"in order", b"part 50", b"now 2"]

    async def scenario() -> None:
        async with peer(tls) as server:
            link = await server.dial(tls)
            received: list[bytes] = []
            link.start(
                lambda link, payload: received.append(payload), ignore,
                lambda payload: payload.startswith(b"now"),
                lambda payload: payload.startswith(b"part"),
            )
            await until(lambda: server.links)
            for payload in sent:
                server.links[0].send(payload)
            await until(lambda: len(received) == len(sent))
            assert received.index(b"now 1") < 5
            assert [one for one in received if one != b"now 1"] == [*many, *sent[51:]]
            link.close()
            await link.wait_closed()

    run(scenario())


def test_what_waits_is_bounded(run, tls, until, monkeypatch) -> None:
    monkeypatch.setattr(link_module, "TURN_S", 0.0)
    monkeypatch.setattr(link_module, "UNDELIVERED_BYTES_MAX", 100_000)
    sent = [b"%4d" % number + bytes(10_000) for number in range(300)]

    async def scenario() -> None:
        async with peer(tls) as server:
            link = await server.dial(tls)
            received: list[bytes] = []
            waiting: list[int] = []

            def on_message(link: Link, payload: bytes) -> None:
                received.append(payload)
                waiting.append(link._undelivered_bytes)

            link.start(on_message, ignore)
            await until(lambda: server.links)
            for payload in sent:
                server.links[0].send(payload)
            await until(lambda: len(received) == len(sent))
            assert received == sent
            assert 50_000 < max(waiting) < 400_000
            assert link._undelivered_bytes == link._ordinary == 0
            link.close()
            await link.wait_closed()

    run(scenario())


def test_what_came_before_the_connection_was_lost_is_delivered_first(
    run, tls, until, monkeypatch
) -> None:
    monkeypatch.setattr(link_module, "TURN_S", 0.0)
    sent = [b"%d" % number for number in range(50)]

    async def scenario() -> None:
        async with peer(tls) as server:
            link = await server.dial(tls)
            seen: list[bytes | str] = []
            link.start(
                lambda link, payload: seen.append(payload),
                lambda link, reason: seen.append("closed"),
            )
            await until(lambda: server.links)
            for payload in sent:
                server.links[0].send(payload)
            server.links[0].close("gone")
            await until(lambda: "closed" in seen)
            assert seen == [*sent, "closed"]

    run(scenario())


def test_nothing_is_delivered_after_the_link_was_closed_here(run, tls, until, monkeypatch) -> None:
    monkeypatch.setattr(link_module, "TURN_S", 0.0)

    async def scenario() -> None:
        async with peer(tls, echo=True) as server:
            link = await server.dial(tls)
            received: list[bytes] = []

            def on_message(link: Link, payload: bytes) -> None:
                received.append(payload)
                if len(received) == 5:
                    link.close("enough")

            link.start(on_message, ignore)
            for number in range(50):
                link.send(b"%d" % number)
            await until(lambda: len(received) == 5)
            await link.wait_closed()
            assert len(received) == 5

    run(scenario())
