"""Agents that go and come, and a state directory that cannot be written, as workers feel it."""

import socket
import threading
from pathlib import Path

import pytest

from clustersession.net.unix import listen_unix
from clustersession.replica.home import NodeHome
from clustersession.replica.opening import open_memory
from clustersession.settings.settings import Settings
from clustersession.wire.frames import FrameDecoder, encode_frame
from clustersession.wire.local import decode_request, encode_answer
from clustersession.worker.agent_client import AgentClient


class Answering:
    """An agent that confirms everything, until it is killed."""

    def __init__(self, home: NodeHome) -> None:
        self._listening = listen_unix(home.agent_socket)
        self._listening.setblocking(True)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        decoder = FrameDecoder(2**20)
        with connection:
            try:
                while data := connection.recv(65536):
                    for payload in decoder.receive(data):
                        request = decode_request(payload)
                        if request.token:
                            connection.sendall(encode_frame(encode_answer(request.token, 1)))
            except OSError:
                pass

    def kill(self) -> None:
        self._shut(self._listening)
        self._threads[0].join()
        self._listening.close()
        for connection in self._open:
            self._shut(connection)
        for thread in self._threads[1:]:
            thread.join()

    @staticmethod
    def _shut(sock: socket.socket) -> None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def test_an_agent_that_was_replaced_costs_a_worker_one_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = NodeHome(tmp_path)
    settings = Settings(distributable=True, route="a", agent="external", ack_timeout_s=10.0)
    replica = open_memory(b"a" * 8, clock_skew_ms_max=300_000)
    agent = Answering(home)
    port = AgentClient(settings, home, replica)
    try:
        pool = port._pool
        taken = [pool._take() for _ in range(60)]
        for link in taken:
            pool._idle.give(link)
        agent.kill()
        agent = Answering(home)
        tried = []
        take = pool._take
        monkeypatch.setattr(pool, "_take", lambda: tried.append(take()) or tried[-1])
        assert port.confirm(1)
        assert len(tried) == 2
    finally:
        port.close()
        agent.kill()
