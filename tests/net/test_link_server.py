"""Who gets a link: what the dialler is told, and strangers get nowhere."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from clustersession.core.errors import OtherVersion, WireError
from clustersession.net.link_server import Link, LinkLimits, LinkServer, Refusal, dial
from clustersession.net.tls import tls_contexts
from clustersession.wire.frames import encode_frame
from clustersession.wire.keys import ClusterKeys
from tests.net.link_peers import QUICK, Peer, ignore, peer


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


def test_nobody_listens(run, tls) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = taken.getsockname()
        with pytest.raises(ConnectionRefusedError):
            run(dial(*address, tls.client, b"", bytes.decode, 5))


def test_whoever_listens_says_nothing(run, tls) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(TimeoutError):
            run(dial(*silent.getsockname(), tls.client, b"", bytes.decode, 0.3, QUICK))


def test_whoever_listens_and_is_busy_is_given_longer_than_who_does_not_answer(run, tls) -> None:
    """Both have computed for the handshake, which would be lost."""
    def check_slowly(hello: bytes) -> str:
        until_s = time.monotonic() + 0.2
        while time.monotonic() < until_s:
            pass
        return hello.decode()

    async def scenario() -> None:
        async with peer(tls, check_hello=check_slowly) as server:
            link = await server.dial(tls, LinkLimits(), timeout_s=0.1)
            assert not link.is_closed
            link.close()
            await link.wait_closed()

    run(scenario())


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
    limits = LinkLimits(handshake_timeout_s=1.5, close_timeout_s=0.5, unauthenticated_max=4)

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
