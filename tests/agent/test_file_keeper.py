"""The files of a node that lives stay young, and what was removed is made again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clustersession.agent import file_keeper
from clustersession.agent.process import agent_lock
from clustersession.net.agent_link import ask_once
from clustersession.replica.home import NodeHome
from clustersession.tools.demo.processes import wait_for
from clustersession.wire.local import Operation
from clustersession.worker.runtime import Runtime
from tests.worker.thread_nodes import login, running_nodes

LONG_AGO_S = 1_000_000_000


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_keeper, "LOOK_INTERVAL_S", 0.05)
    monkeypatch.setattr(file_keeper, "TOUCH_LOOKS", 1)


def home_of(node: Runtime) -> NodeHome:
    manager = node.manager()
    return NodeHome(Path(manager.replica._lmdb.directory).parent)  # type: ignore[attr-defined]


def old_files(home: NodeHome) -> list[str]:
    paths = (home.directory, *home.directory.rglob("*"))
    return [path.name for path in paths if path.lstat().st_mtime == LONG_AGO_S]


def test_files_of_a_running_node_never_look_old(tmp_path: Path) -> None:
    with running_nodes(tmp_path, 1) as nodes:
        login(nodes[0].manager(), "ann")
        home = home_of(nodes[0])
        for path in (home.directory, *home.directory.rglob("*")):
            os.utime(path, (LONG_AGO_S, LONG_AGO_S), follow_symlinks=False)
        wait_for(lambda: not old_files(home), "all files to be touched")


def test_a_removed_socket_comes_back_and_no_second_agent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_nodes(tmp_path, 1, ack="none") as nodes:
        home = home_of(nodes[0])
        node = ask_once(home.agent_socket, Operation.STATUS)["node"]
        home.agent_socket.unlink()
        home.agent_lock.unlink()
        with agent_lock(home) as held:
            assert not held, "the agent's lock does not go with a file"
        wait_for(home.agent_socket.exists, "the socket")
        wait_for(home.agent_lock.exists, "the process id")
        assert ask_once(home.agent_socket, Operation.STATUS)["node"] == node
        assert int(home.agent_lock.read_text()) == os.getpid()
        assert "agent.sock was removed" in caplog.text


def test_files_of_the_replica_that_are_gone_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_nodes(tmp_path, 1, ack="none") as nodes:
        home = home_of(nodes[0])
        (home.replica / "data.mdb").unlink()
        wait_for(lambda: "files (data.mdb) were removed" in caplog.text, "the log")
        # Another process must not begin an empty one, which nobody would replicate.
        code = (
            "import sys; from pathlib import Path; from clustersession.replica.home import *; "
            "from clustersession.settings.settings import Settings; "
            "open_node_replica(NodeHome(Path(sys.argv[1])), Settings())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(home.directory)], capture_output=True, text=True,
            check=False,
        )
        assert "end them all" in done.stderr
        assert not (home.replica / "data.mdb").exists()
