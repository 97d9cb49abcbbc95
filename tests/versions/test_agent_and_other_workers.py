"""Our agent, asked by workers of an older version and of one to come."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from clustersession.net.unix import connect_unix
from clustersession.replica.home import NodeHome
from clustersession.replica.opening import open_memory
from clustersession.settings.settings import Settings
from clustersession.wire.frames import FrameDecoder, encode_frame
from clustersession.worker.agent_thread import ThreadAgent
from tests.support.processes import free_port, wait_for
from tests.versions.conftest import Recording
from tests.versions.samples import SECRETS

DRAIN, STOP, GRANT, UNKNOWN = 6, 7, 15, 99


class Worker:
    """A worker's connection, in terms of frames."""

    def __init__(self, path: Path) -> None:
        self.socket = connect_unix(path, 5.0)
        self.decoder = FrameDecoder(2**20)
        self.answers: list[Any] = []

    def ask(self, request: bytes, token: int) -> Any:
        """Send a request and wait for the answer to it."""
        self.socket.sendall(encode_frame(request))
        while True:
            for answer in self.answers:
                if answer[0] == token:
                    self.answers.remove(answer)
                    return answer[1]
            data = self.socket.recv(65536)
            assert data, "the agent closed the connection"
            self.answers += map(msgpack.unpackb, self.decoder.receive(data))


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[ThreadAgent]:
    settings = Settings(
        distributable=True, route="tomcat1", secret=SECRETS, bind="127.0.0.1",
        port=free_port(), port_range=1, multicast_address="", fetch_timeout_s=0.05,
    )
    replica = open_memory(b"node-aaa", clock_skew_ms_max=0)
    running = ThreadAgent(settings, NodeHome(tmp_path), replica)
    running.start()
    wait_for((tmp_path / "agent.sock").exists, "the agent's socket")
    yield running
    running.stop()


@pytest.fixture
def worker(agent: ThreadAgent, tmp_path: Path) -> Iterator[Worker]:
    def connected() -> Worker | None:
        try:
            return Worker(tmp_path / "agent.sock")
        except OSError:
            return None

    found = wait_for(connected, "a connection")
    assert found is not None
    yield found
    found.socket.shutdown(socket.SHUT_RDWR)
    found.socket.close()


def test_an_old_worker_is_served(recording: Recording, worker: Worker) -> None:
    answers = {}
    for row in recording["local"]["requests"]:
        operation, token, _ = row["meaning"]
        if token and operation not in (DRAIN, STOP):
            answers[row["name"]] = worker.ask(bytes.fromhex(row["bytes"]), token)
    (recorded,) = (r["meaning"][1] for r in recording["local"]["answers"] if r["name"] == "status")
    status = answers.pop("status")
    assert type(answers.pop("events", [])) is list
    expected = {
        "attach": True, "confirm": 0, "fetch": False, "fetch writes": False, "watch": True,
        # An end that this node has not written is never on its disk.
        "confirm all": -1, "dismiss": True,
        "listen": True, "locate": [], "gather": True, "grant": [],
    }
    assert answers == {name: expected[name] for name in answers}
    assert {"attach", "confirm", "fetch"} <= answers.keys()
    assert recorded.keys() <= status.keys()
    for name in recorded.keys() - {"members", "counters"}:
        assert type(status[name]) is type(recorded[name]), name


def test_a_worker_to_come_is_served_as_far_as_we_understand(
    recording: Recording, worker: Worker
) -> None:
    asked = 0
    for row in recording["local"]["requests"]:
        operation, token, argument = msgpack.unpackb(bytes.fromhex(row["bytes"]))
        if token and operation not in (DRAIN, STOP):
            asked += 1
            grown = [operation, token, [*argument, "something new"], {"more": 1}]
            # Without a store nothing is granted, which nil says as well.
            assert worker.ask(msgpack.packb(grown), token) is not None or operation == GRANT
            assert worker.ask(msgpack.packb([UNKNOWN, 2**40, [token]]), 2**40) is None
    status = worker.ask(msgpack.packb([5, 1, []]), 1)
    assert status["counters"]["requests of an unknown kind"] == asked
    assert status["workers"] == [4711]
