"""A killed node is gone when its port is closed, and not before."""

import socket
import threading
from pathlib import Path

import pytest

from clustersession.tools.demo import nodes
from clustersession.tools.demo.nodes import Node
from clustersession.tools.demo.processes import Program, StepFailed, accepts_connections

STILL_OPEN_S = 0.3


def killed(listener: socket.socket, directory: Path) -> Node:
    port = listener.getsockname()[1]
    node = Node("one", port, directory, Program(["never started"], directory / "log"), port)
    node.state_dir.mkdir()
    node.kill()
    return node


def test_a_socket_that_outlives_its_process_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closing = threading.Timer(STILL_OPEN_S, listener.close)
        closing.start()
        node = killed(listener, tmp_path)
        closing.join()
    assert not accepts_connections(node.port)


def test_a_port_that_stays_open_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "KILL_TIMEOUT_S", STILL_OPEN_S)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(StepFailed, match="one to refuse connections"),
    ):
        killed(listener, tmp_path)
