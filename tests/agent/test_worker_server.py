"""What the agent answers on its socket, and what it makes of bytes that are no question."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from clustersession.agent.driver import Driver
from clustersession.agent.worker_server import WorkerConnection, WorkerServer
from clustersession.net.unix import PATH_BYTES_MAX, listen_unix
from clustersession.node.effects import Confirmed
from clustersession.replica.opening import open_memory
from clustersession.settings.settings import Settings
from clustersession.wire.frames import FrameDecoder, encode_frame
from clustersession.wire.local import (
    AHEAD_KEYS_MAX,
    AgentAnswer,
    Operation,
    decode_answer,
    encode_request,
)

LIMIT = 2**20
KEY = "1" + "k" * 22


class Socket:
    """Stands for a connection's transport."""

    def __init__(self) -> None:
        self.closed = False
        self.unread = 0
        self._decoder = FrameDecoder(LIMIT)
        self.answers: list[AgentAnswer] = []

    def write(self, data: bytes) -> None:
        self.answers += [decode_answer(payload) for payload in self._decoder.receive(data)]

    def get_write_buffer_size(self) -> int:
        return self.unread

    def close(self) -> None:
        self.closed = True


class Served:
    """A server over a node that runs nowhere, and what it did."""

    def __init__(self) -> None:
        settings = Settings(
            distributable=True, route="a", bind="127.0.0.1", secret=("s" * 32,),
            multicast_address="",
        )
        replica = open_memory(b"nodenode", clock_skew_ms_max=300_000)
        self.driver = Driver(settings, replica)
        self.workers: list[tuple[int, int]] = []
        self.stops = 0
        self.server = WorkerServer(
            self.driver, status=lambda: {"route": "a"}, on_stop=self._stop,
            on_workers=lambda count, staying: self.workers.append((count, staying)),
        )

    def _stop(self) -> None:
        self.stops += 1

    def connect(self) -> tuple[WorkerConnection, Socket]:
        connection, socket = WorkerConnection(self.server), Socket()
        connection.connection_made(cast(Any, socket))
        return connection, socket


def ask(connection: WorkerConnection, operation: Any, token: int, *argument: object) -> None:
    connection.data_received(encode_frame(encode_request(operation, token, *argument)))


@pytest.fixture
def served() -> Served:
    return Served()


def test_each_answer_goes_to_who_asked_under_its_own_number(served: Served) -> None:
    (one, first), (two, second) = served.connect(), served.connect()
    tokens = [served.server.new_token(one, 7), served.server.new_token(two, 7)]
    assert len(set(tokens)) == 2, "connections number their questions alike"
    served.server.pass_on(Confirmed(tokens[1], 2))
    assert (first.answers, second.answers) == ([], [AgentAnswer(7, 2)])
    served.server.pass_on(Confirmed(tokens[1], 3))
    assert len(second.answers) == 1, "it was answered"


def test_who_is_gone_is_not_answered_and_not_kept(served: Served) -> None:
    connection, socket = served.connect()
    token = served.server.new_token(connection, 7)
    ask(connection, Operation.ATTACH, 1, 4711)
    connection.connection_lost(None)
    served.server.pass_on(Confirmed(token, 1))
    assert socket.answers == [AgentAnswer(1, True)]
    assert served.workers == [(1, 1), (0, 0)]
    assert not served.server._asked
    assert not served.server._connections


def test_workers_that_were_told_to_stop_are_counted_apart(served: Served) -> None:
    (stays, _), (goes, _) = served.connect(), served.connect()
    ask(stays, Operation.ATTACH, 1, 1)
    ask(goes, Operation.ATTACH, 1, 2, True)
    assert served.workers == [(1, 1), (2, 1)]
    assert served.server.worker_pids == [1, 2]


def test_workers_that_have_another_store_are_known(served: Served) -> None:
    (stays, _), (waits, _) = served.connect(), served.connect()
    ask(stays, Operation.ATTACH, 1, 1, False, False)
    ask(waits, Operation.ATTACH, 1, 2, False, True)
    assert served.server.waiting_pids == [2]
    assert served.workers == [(1, 1), (2, 2)]
    waits.connection_lost(None)
    assert served.server.waiting_pids == []


def test_the_command_line_is_no_worker(served: Served) -> None:
    connection, socket = served.connect()
    ask(connection, Operation.STATUS, 3)
    ask(connection, Operation.STOP, 4)
    assert socket.answers == [AgentAnswer(3, {"route": "a"}), AgentAnswer(4, True)]
    assert (served.stops, served.workers) == (1, [])


def test_a_question_of_a_later_version_is_answered_with_nothing(served: Served) -> None:
    connection, socket = served.connect()
    ask(connection, 99, 5, "whatever")
    assert socket.answers == [AgentAnswer(5, None)]
    assert not socket.closed
    assert served.driver.event_log.counters["requests of an unknown kind"] == 1


@pytest.mark.parametrize("data", [
    encode_frame(b"noise"),
    encode_frame(encode_request(Operation.FETCH, 1)),
    encode_frame(encode_request(Operation.FETCH, 1, 7)),
    encode_frame(encode_request(Operation.CONFIRM, 1, 1, True, "soon")),
    encode_frame(encode_request(Operation.CONFIRM, 1, 1, True, 1, False, 7)),
    encode_frame(encode_request(Operation.REPORT, 1, 7)),
])
def test_what_is_no_question_ends_its_connection_and_no_other(
    served: Served, data: bytes
) -> None:
    (bad, closed), (good, open_one) = served.connect(), served.connect()
    bad.data_received(data)
    ask(good, Operation.STATUS, 1)
    assert (closed.closed, open_one.closed) == (True, False)
    assert len(open_one.answers) == 1


class Node:
    """Stands for a node's life, and for its engine."""

    def __init__(self) -> None:
        self.engine = self
        self.asked: list[dict[str, Any]] = []

    def confirm(self, token: int, seq: int, **wanted: Any) -> None:
        self.asked.append(wanted)


@pytest.mark.parametrize(("named", "noted"), [
    ([], []), ([[KEY]], [KEY]), ([[KEY] * 20], [KEY] * AHEAD_KEYS_MAX),
])
async def test_the_node_is_told_what_a_worker_waits_for(
    served: Served, monkeypatch: pytest.MonkeyPatch, named: list[object], noted: list[str]
) -> None:
    """Workers of an older version do not say it."""
    connection, _ = served.connect()
    node = Node()
    served.driver.life = cast(Any, node)
    monkeypatch.setattr(served.driver, "feed_moved", lambda: None)
    ask(connection, Operation.CONFIRM, 5, 12, False, 1000, False, *named)
    assert [wanted["keys"] for wanted in node.asked] == [noted]


def test_a_line_of_the_log_is_told_to_one_worker(served: Served) -> None:
    sockets = []
    for pid in (1, 2):
        connection, socket = served.connect()
        ask(connection, Operation.ATTACH, 0, pid)
        sockets.append(socket)
    served.server.forward("warning", "member lost")
    told = [answer.value for socket in sockets for answer in socket.answers]
    assert told == [["warning", "member lost"]]


def test_it_closes_what_is_opened_after_its_end(served: Served) -> None:
    """Whoever was accepted and not greeted yet would keep uvloop from closing its loop."""
    served.server.close()
    _, late = served.connect()
    assert late.closed


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_long_path_s_descriptor_may_be_another_file_s_when_it_serves(
    served: Served, factory: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    """Python 3.13 and newer look for the file under the name by which the socket was bound."""
    path = tmp_path / ("x" * PATH_BYTES_MAX) / "agent.sock"
    path.parent.mkdir()

    async def serve() -> None:
        sock = listen_unix(path)
        descriptor = int(sock.getsockname().split("/")[4])
        taken = os.open(os.devnull, os.O_RDONLY)
        try:
            if taken != descriptor:
                os.dup2(taken, descriptor)
            await served.server.start(sock)
            served.server.close()
        finally:
            for number in {taken, descriptor}:
                os.close(number)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())
    assert path.exists()
