"""Receiving datagrams and answering them."""

import asyncio
import logging
import socket

import pytest

from clustersession.net.datagram_port import DatagramPort, Source


async def ask(port: int, *questions: bytes, host: str = "127.0.0.1") -> list[bytes]:
    """What comes back to some questions, asked from one socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((host, port))
        for question in questions:
            sock.send(question)
        async with asyncio.timeout(10):
            return [await loop.sock_recv(sock, 2048) for _ in questions]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_what_comes_is_answered_to_whoever_sent_it(host: str) -> None:
    def echo(data: bytes, source: Source) -> bytes:
        return data + b"%d" % source[1]

    port = DatagramPort(host, 0, echo)
    number = port._socket.getsockname()[1]
    answers = await ask(number, *[b"%d " % n for n in range(100)], host=host)
    assert [answer.split()[0] for answer in answers] == [b"%d" % n for n in range(100)]
    assert len({answer.split()[1] for answer in answers}) == 1
    port.close()


async def test_no_answer_and_an_error_end_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def handle(data: bytes, source: Source) -> bytes | None:
        if data == b"fail":
            raise RuntimeError("wrong")
        return None if data == b"silent" else data

    port = DatagramPort("127.0.0.1", 0, handle)
    number = port._socket.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, caplog.at_level(logging.ERROR):
        for question in (b"fail", b"silent", b""):
            sock.sendto(question, ("127.0.0.1", number))
        assert await ask(number, b"well") == [b"well"]
    assert "could not be handled" in caplog.text
    port.close()


async def test_a_port_that_is_taken_is_an_error() -> None:
    first = DatagramPort("127.0.0.1", 0, lambda data, source: None)
    number = first._socket.getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        DatagramPort("127.0.0.1", number, lambda data, source: None)
    first.close()
    DatagramPort("127.0.0.1", number, lambda data, source: None).close()
