"""Unix sockets at long paths, and links that notice when the agent goes."""

import asyncio
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from clustersession.net.agent_link import AgentGone, AsyncLink, BlockingLink, LinkPool
from clustersession.net.unix import connect_unix, listen_unix
from clustersession.wire.frames import FrameDecoder, encode_frame
from clustersession.wire.local import Operation, decode_request, encode_answer


def long_path(base: Path) -> Path:
    directory = base / ("d" * 120)
    directory.mkdir()
    return directory / "agent.sock"


class EchoAgent:
    """Answers every request with its argument, on a thread; closes after ``limit`` requests."""

    def __init__(self, path: Path, limit: int = 1000) -> None:
        self.sock = listen_unix(path)
        self.sock.setblocking(True)
        self.limit = limit
        self.threads = [threading.Thread(target=self._serve, daemon=True)]
        self.threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._answer, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _answer(self, connection: object) -> None:
        decoder = FrameDecoder(2**20)
        answered = 0
        with connection, suppress(BrokenPipeError, ConnectionResetError):
            while data := connection.recv(65536):
                for payload in decoder.receive(data):
                    if answered == self.limit:
                        return
                    request = decode_request(payload)
                    connection.sendall(encode_frame(encode_answer(0, ["info", "an event"])))
                    if request.token:
                        answer = encode_answer(request.token, request.argument)
                        connection.sendall(encode_frame(answer))
                    answered += 1

    def close(self) -> None:
        self.sock.shutdown(2)
        self.sock.close()
        for thread in self.threads:
            thread.join(5)


def test_a_path_longer_than_the_system_allows_works(tmp_path: Path) -> None:
    path = long_path(tmp_path)
    agent = EchoAgent(path)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        link = BlockingLink(path)
        assert link.ask(Operation.STATUS, "x", timeout_s=5) == ["x"]
        link.close()
    finally:
        agent.close()


def test_a_leftover_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    listen_unix(path).close()
    with pytest.raises(OSError):
        connect_unix(path, 1.0)
    sock = listen_unix(path)
    connect_unix(path, 1.0).close()
    sock.close()


def test_no_agent_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(AgentGone):
        BlockingLink(tmp_path / "nothing")


def test_an_agent_that_goes_away_or_is_silent_ends_the_wait(tmp_path: Path) -> None:
    agent = EchoAgent(tmp_path / "agent.sock", limit=1)
    try:
        pool = LinkPool(tmp_path / "agent.sock")
        assert pool.ask(Operation.FETCH, 1, timeout_s=5) == [1]
        with pytest.raises(AgentGone):
            pool.ask(Operation.FETCH, 2, timeout_s=5)
        silent = BlockingLink(tmp_path / "agent.sock")
        silent.tell(Operation.FEED_MOVED, 1)
        with pytest.raises(TimeoutError):
            silent.ask(Operation.FEED_MOVED, timeout_s=0)
        silent.close()
        pool.close()
    finally:
        agent.close()


async def test_many_requests_share_one_async_link(tmp_path: Path) -> None:
    agent = EchoAgent(tmp_path / "agent.sock")
    try:
        link = await AsyncLink.connect(tmp_path / "agent.sock")
        asked = [link.ask(Operation.FETCH, number, timeout_s=5) for number in range(200)]
        assert await asyncio.gather(*asked) == [[number] for number in range(200)]
        link.close()
        with pytest.raises(AgentGone):
            await link.ask(Operation.FETCH, timeout_s=5)
    finally:
        await asyncio.to_thread(agent.close)
