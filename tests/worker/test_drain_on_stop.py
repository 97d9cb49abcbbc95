"""A worker that was told to stop: when its node drains, and who gets the signal."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from clustersession.worker import drain_on_stop
from clustersession.worker.attachment import Attachment
from clustersession.worker.drain_on_stop import DrainOnStop, drain_at_sigterm, forget_drain
from clustersession.worker.runtime import Runtime
from tests.operations.draining import make, request, serving
from tests.support.processes import free_port, wait_for

Nodes = tuple[Runtime, Runtime]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    port = free_port()
    made = make(tmp_path, "tomcat1", port), make(tmp_path, "tomcat2", port)
    for node in made:
        node.start()
    for node in made:
        wait_for(lambda n=node: serving(n) == {"tomcat1", "tomcat2"}, "both nodes to serve")
    yield made
    for node in made:
        node.close()


def drain_of(node: Runtime, drain_s: float) -> DrainOnStop:
    client, manager = node.agent_client(), node.manager()
    assert client is not None
    return DrainOnStop(drain_s, client, manager.replica, manager.counters)


def test_while_the_last_worker_goes_on_its_users_move(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = nodes
    caplog.set_level("INFO")
    cookie = request(first, user="ann")
    assert cookie is not None
    leaving = threading.Thread(target=drain_of(first, 4.0).run)
    leaving.start()
    wait_for(lambda: serving(first) == {"tomcat2"}, "our own answers to name the other node")
    wait_for(lambda: serving(second) == {"tomcat2"}, "the other node to know")
    assert first.phase() == "draining"
    moved = cookie.replace(".tomcat1", ".tomcat2")
    assert request(first, cookie) == moved
    assert dict(second.manager().open([moved]).session) == {"user": "ann"}
    leaving.join(20)
    assert "drained, 1 answers moved a session" in caplog.text
    first.close()
    first.start()
    wait_for(lambda: serving(second) == {"tomcat1", "tomcat2"}, "the node to be back")


def test_a_node_that_wrote_nothing_owes_nobody_anything(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    drain_of(nodes[0], 2.0).run()
    assert "drained, 0 answers moved a session" in caplog.text


def test_a_worker_with_siblings_that_stay_leaves_the_node_as_it_is(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = nodes
    caplog.set_level("INFO")
    client = first.agent_client()
    assert client is not None
    sibling = Attachment(first.settings, client.attachment._home, start=lambda: False)
    try:
        assert sibling.attached.wait(5)
        drain_of(first, 60.0).run()
        assert "others of the node go on" in caplog.text
        assert serving(first) == serving(second) == {"tomcat1", "tomcat2"}
    finally:
        sibling.stop()


def test_alone_there_is_nobody_to_move_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = make(tmp_path, "tomcat1", free_port())
    node.start()
    try:
        wait_for(lambda: node.phase() == "ready", "the node to be ready")
        drain_of(node, 60.0).run()
        assert "no other serves its users" in caplog.text
        assert str(request(node, user="ann")).endswith(".tomcat1")
    finally:
        node.close()


class Wanted(DrainOnStop):
    """One that only says that it was run, and when to go on."""

    def __init__(self) -> None:
        self.begun, self.done = threading.Event(), threading.Event()

    def run(self) -> None:
        self.begun.set()
        self.done.wait(20)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What a server's handler of SIGTERM has got."""
    got: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        got.append(number)

    before = signal.signal(signal.SIGTERM, handle)
    monkeypatch.setattr(drain_on_stop, "_sigterm", None)
    yield got
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for thread in threading.enumerate():
        if thread.name == "clustersession-drain":
            thread.join(20)
    signal.signal(signal.SIGTERM, before)


def test_the_server_gets_its_signal_afterwards(server: list[int]) -> None:
    wanted = Wanted()
    drain_at_sigterm(wanted)
    os.kill(os.getpid(), signal.SIGTERM)
    assert wanted.begun.wait(5)
    assert server == []
    wanted.done.set()
    wait_for(lambda: server, "the server to get it")


def test_a_second_signal_reaches_the_server_at_once(server: list[int]) -> None:
    wanted = Wanted()
    drain_at_sigterm(wanted)
    os.kill(os.getpid(), signal.SIGTERM)
    assert wanted.begun.wait(5)
    os.kill(os.getpid(), signal.SIGTERM)
    wait_for(lambda: server, "the server to get it")
    os.kill(os.getpid(), signal.SIGTERM)
    wait_for(lambda: len(server) == 2, "its own handler to be back")
    wanted.done.set()


def test_a_closed_node_does_not_hold_up_the_server(server: list[int]) -> None:
    wanted = Wanted()
    drain_at_sigterm(wanted)
    forget_drain(wanted)
    os.kill(os.getpid(), signal.SIGTERM)
    wait_for(lambda: server, "the server to get it")
    assert not wanted.begun.is_set()


def test_in_a_thread_it_says_that_it_cannot(
    server: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    thread = threading.Thread(target=drain_at_sigterm, args=(Wanted(),))
    thread.start()
    thread.join()
    assert "drain_on_stop_s has no effect" in caplog.text


def test_where_python_may_not_handle_signals_it_says_so(
    server: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So it is in all but the first interpreter of a process; mod_wsgi just ignores the call."""
    def refuse(number: int, handler: object) -> None:
        raise ValueError("signal only works in main thread of the main interpreter")

    for replacement in (refuse, lambda number, handler: None):
        with monkeypatch.context() as patched:
            patched.setattr(signal, "signal", replacement)
            drain_at_sigterm(Wanted())
        assert "drain_on_stop_s has no effect" in caplog.text
        caplog.clear()
