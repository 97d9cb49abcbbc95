"""Links: messages arrive whole and in order, strangers get nowhere, and nothing is left behind."""

import asyncio
import logging
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from clustersession.core.errors import OtherVersion, WireError
from clustersession.net.link_server import Link, LinkLimits, LinkServer, Refusal, dial
from clustersession.net.tls import tls_contexts
from clustersession.wire.frames import encode_frame
from clustersession.wire.keys import ClusterKeys

QUICK = LinkLimits(handshake_timeout_s=0.3, hello_timeout_s=0.3, close_timeout_s=0.5)


class Peer:
    """A server with its links, and what it was told about."""

    def __init__(
        self, tls, limits=QUICK, start=True, check_hello=None, echo=False, port=0, ports=1
    ):
        self.links: list[Link] = []
        self.messages: list[bytes] = []
        self.closed: list[str] = []
        self.refusals: list[str] = []
        self.start_links = start
        self.echo = echo
        self.server = LinkServer(
            "127.0.0.1", port, ports, tls.server, lambda: b"server", check_hello or bytes.decode,
            self.accepted, lambda address, reason: self.refusals.append(reason), limits,
        )

    def accepted(self, link: Link) -> None:
        self.links.append(link)
        if self.start_links:
            link.start(self.on_message, self.on_closed)

    def on_message(self, link: Link, payload: bytes) -> None:
        self.messages.append(payload)
        if self.echo:
            link.send(payload)

    def on_closed(self, link: Link, reason: str) -> None:
        self.closed.append(reason)

    async def dial(self, tls, limits=QUICK, hello=b"client", check_hello=bytes.decode, timeout_s=5):
        return await dial(
            *self.server.address, tls.client, hello, check_hello, timeout_s, limits
        )

    def nobody_came(self) -> bool:
        return not self.links and not self.messages


@asynccontextmanager
async def peer(tls, **options: Any) -> AsyncIterator[Peer]:
    made = Peer(tls, **options)
    await made.server.start()
    try:
        yield made
    finally:
        for link in made.links:
            link.close()
        await asyncio.gather(*(link.wait_closed() for link in made.links))
        await made.server.close()


def ignore(link: Link, what: object) -> None:
    pass


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
                async with asyncio.timeout(1):
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


def test_the_first_free_port_of_the_range(run, tls) -> None:
    async def scenario() -> None:
        async with peer(tls) as first:
            port = first.server.address[1]
            async with peer(tls, port=port, ports=50) as second:
                assert port < second.server.address[1] < port + 50
                link = await second.dial(tls)
                link.abort("done")
            with pytest.raises(OSError, match=f"no free TCP port from {port} to {port} on 127"):
                await Peer(tls, port=port, ports=1).server.start()

    run(scenario())


def test_an_address_that_is_not_ours_is_a_clear_error(run, tls) -> None:
    server = LinkServer(
        "192.0.2.77", 4000, 5, tls.server, bytes, bytes.decode, lambda link: None
    )
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.77 port 4000"):
        run(server.start())


# ---- what the dialler is told --------------------------------------------------------------------


def test_nobody_listens(run, tls) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = taken.getsockname()
        with pytest.raises(ConnectionRefusedError):
            run(dial(*address, tls.client, b"", bytes.decode, 5))


def test_whoever_listens_says_nothing(run, tls) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(TimeoutError):
            run(dial(*silent.getsockname(), tls.client, b"", bytes.decode, 0.3))


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"\x00" * 5000, b"\x16\x03\x01\xff"])
def test_whoever_listens_speaks_something_else(run, tls, answer) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        with pytest.raises((WireError, ConnectionError)):
            await dial(
                *server.sockets[0].getsockname(), tls.client, b"", bytes.decode, 5
            )
        server.close()

    run(scenario())


def test_the_server_does_not_want_us(run, tls, until) -> None:
    def check_hello(hello: bytes) -> str:
        raise WireError("wrong protocol")

    async def scenario() -> None:
        async with peer(tls, check_hello=check_hello) as server:
            with pytest.raises(WireError, match="no hello"):
                await server.dial(tls)
            await until(lambda: server.refusals)
            assert server.refusals == ["wrong protocol"]
            assert server.server.refused == {Refusal.HELLO: 1}
            assert server.nobody_came()

    run(scenario())


def test_a_peer_of_another_version_is_told_ours(run, tls, until) -> None:
    def refuse(whose: str) -> Callable[[bytes], str]:
        def check_hello(hello: bytes) -> str:
            raise OtherVersion(f"{whose} {hello.decode()}")

        return check_hello

    async def scenario() -> None:
        async with peer(tls, check_hello=refuse("the server heard")) as server:
            with pytest.raises(OtherVersion, match="the client heard server"):
                await server.dial(tls, check_hello=refuse("the client heard"))
            await until(lambda: server.refusals)
            assert server.refusals == ["the server heard client"]
            assert server.nobody_came()
            await until(lambda: server.server.unauthenticated == 0)

    run(scenario())


def test_we_do_not_want_the_server(run, tls, until) -> None:
    def check_hello(hello: bytes) -> str:
        raise WireError("wrong protocol")

    async def scenario() -> None:
        async with peer(tls) as server:
            with pytest.raises(WireError, match="wrong protocol"):
                await server.dial(tls, check_hello=check_hello)
            await until(lambda: server.closed)

    run(scenario())


def test_a_dial_can_be_cancelled_at_any_time(run, tls) -> None:
    async def scenario() -> None:
        async with peer(tls) as server:
            for steps in range(25):
                dialling = asyncio.ensure_future(server.dial(tls))
                for _ in range(steps):
                    await asyncio.sleep(0)
                dialling.cancel()
                outcome = (await asyncio.gather(dialling, return_exceptions=True))[0]
                if isinstance(outcome, Link):
                    outcome.abort("done")

    run(scenario())


# ---- strangers -----------------------------------------------------------------------------------


def test_another_secret_is_refused_on_both_sides(run, tls, tls_of_stranger, until) -> None:
    async def scenario() -> None:
        async with peer(tls) as server:
            with pytest.raises(WireError, match="its secret or cluster name is another"):
                await server.dial(tls_of_stranger)
            await until(lambda: server.refusals)
            assert server.server.refused.total() == 1
            assert server.nobody_came()

    run(scenario())


def test_a_stranger_who_does_not_check_us_is_refused(run, tls, tls_of_stranger, until) -> None:
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE

    async def scenario() -> None:
        tls_of_stranger.client.verify_mode = ssl.CERT_NONE
        try:
            async with peer(tls) as server:
                for context in (careless, tls_of_stranger.client):
                    with pytest.raises((WireError, OSError)):
                        await dial(*server.server.address, context, b"x", bytes.decode, 5, QUICK)
                await until(lambda: len(server.refusals) == 2)
                assert server.server.refused == {Refusal.TLS: 2}
                assert server.nobody_came()
        finally:
            tls_of_stranger.client.verify_mode = ssl.CERT_REQUIRED

    run(scenario())


def test_older_tls_is_refused(run, tls, until) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    async def scenario() -> None:
        async with peer(tls) as server:
            with pytest.raises((WireError, OSError)):
                await dial(*server.server.address, old, b"x", bytes.decode, 5, QUICK)
            await until(lambda: server.server.refused == {Refusal.TLS: 1})
            assert server.nobody_came()

    run(scenario())


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 99_999, encode_frame(b"")])
def test_plain_bytes_are_refused(run, tls, until, noise) -> None:
    async def scenario() -> None:
        async with peer(tls) as server:
            reader, writer = await asyncio.open_connection(*server.server.address)
            writer.write(noise)
            try:
                await reader.read()
            except ConnectionError:
                pass
            writer.close()
            await until(lambda: server.refusals)
            assert server.server.refused.total() == 1
            assert server.nobody_came()

    run(scenario())


@pytest.mark.parametrize("first_bytes", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_half_open_connections_end(run, tls, until, first_bytes) -> None:
    async def scenario() -> None:
        async with peer(tls) as server:
            _, writer = await asyncio.open_connection(*server.server.address)
            writer.write(first_bytes)
            await until(lambda: server.server.refused == {Refusal.TIMEOUT: 1})
            await until(lambda: server.server.unauthenticated == 0)
            assert server.nobody_came()
            writer.close()

    run(scenario())


def test_a_connection_that_ends_early_is_counted(run, tls, until) -> None:
    async def scenario() -> None:
        async with peer(tls) as server:
            for _ in range(3):
                _, writer = await asyncio.open_connection(*server.server.address)
                writer.close()
            await until(lambda: server.server.refused.total() == 3)
            assert server.nobody_came()

    run(scenario())


@pytest.mark.parametrize(
    ("first_bytes", "refusal"),
    [
        (b"", Refusal.TIMEOUT),
        (b"\x00\x00", Refusal.TIMEOUT),
        ((4097).to_bytes(4, "big"), Refusal.HELLO),
        (b"\xff" * 200_000, Refusal.HELLO),
        (encode_frame(b"\xff not text"), Refusal.HELLO),
    ],
)
def test_a_bad_hello_is_refused(run, tls, until, first_bytes, refusal) -> None:
    async def scenario() -> None:
        async with peer(tls) as server:
            reader, writer = await asyncio.open_connection(*server.server.address, ssl=tls.client)
            writer.write(first_bytes)
            try:
                assert await reader.read() == b""
            except ConnectionError:
                pass
            writer.close()
            await until(lambda: server.server.refused == {refusal: 1})
            assert server.nobody_came()

    run(scenario())


def test_too_many_at_once_are_turned_away_and_friends_get_in_later(run, tls, until) -> None:
    limits = LinkLimits(handshake_timeout_s=0.5, close_timeout_s=0.5, unauthenticated_max=4)

    async def scenario() -> None:
        async with peer(tls, limits=limits) as server:
            connections = [
                await asyncio.open_connection(*server.server.address) for _ in range(10)
            ]
            await until(lambda: server.server.refused == {Refusal.TOO_MANY: 6})
            assert server.server.unauthenticated == 4
            await until(lambda: server.server.refused[Refusal.TIMEOUT] == 4)
            link = await server.dial(tls)
            link.abort("done")
            for _, writer in connections:
                writer.close()

    run(scenario())


def test_stopping_drops_the_unproved_and_keeps_the_links(run, tls, until) -> None:
    async def scenario() -> None:
        async with peer(tls, limits=LinkLimits(), echo=True) as server:
            link = await server.dial(tls)
            received: list[bytes] = []
            link.start(lambda link, payload: received.append(payload), ignore)
            reader, writer = await asyncio.open_connection(*server.server.address)
            await until(lambda: server.server.unauthenticated == 1)
            await server.server.close()
            try:
                assert await reader.read() == b""
            except ConnectionError:
                pass
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await server.dial(tls)
            link.send(b"still here")
            await until(lambda: received)
            link.close()
            await link.wait_closed()

    run(scenario())


def test_secrets_rotate_without_an_interruption(run, until) -> None:
    def contexts(*secrets: str):
        return tls_contexts(ClusterKeys.derive(secrets, "shop"))

    steps = [contexts("old"), contexts("old", "new"), contexts("new", "old"), contexts("new")]

    async def scenario() -> None:
        for before, after in pairwise(steps):
            for ours, theirs in ((before, after), (after, before)):
                async with peer(ours) as server:
                    link = await server.dial(theirs)
                    link.close()
                    link.start(ignore, ignore)
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
