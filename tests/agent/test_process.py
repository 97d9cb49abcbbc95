"""The agent's process: single by lock, started once however many race, gone after its workers."""

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clustersession.agent import process
from clustersession.agent.process import agent_lock
from clustersession.net.agent_link import AgentGone, BlockingLink
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings
from clustersession.tools.demo.processes import free_port, node_pids, wait_for
from clustersession.wire.local import Operation
from clustersession.worker.completion import complete
from clustersession.worker.launch import start_agent
from clustersession.worker.places import node_home


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return complete(
        load_settings(
            distributable=True, bind="127.0.0.1", state_dir=str(tmp_path / "state"),
            route="tomcat1", secret="s" * 32, multicast_address="", port=free_port(),
            agent_linger_s=1.0,
        )
    )


def is_up(home: NodeHome) -> bool:
    try:
        BlockingLink(home.agent_socket).close()
    except AgentGone:
        return False
    return True


def test_the_lock_is_held_once(tmp_path: Path) -> None:
    home = NodeHome(tmp_path)
    with agent_lock(home) as first, agent_lock(home) as second:
        assert (first, second) == (True, False)
    with agent_lock(home) as third:
        assert third


def test_a_full_disk_keeps_no_agent_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(home: NodeHome) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(process, "write_pid", full)
    with agent_lock(NodeHome(tmp_path)) as held:
        assert held


def test_racing_starters_start_one_agent_which_goes_after_its_last_worker(
    settings: Settings,
) -> None:
    home = node_home(settings)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: start_agent(settings, home), range(8)))
    wait_for(lambda: is_up(home), "the agent")
    pids = node_pids(Path(settings.state_dir))
    assert len(pids) == 1
    link = BlockingLink(home.agent_socket)
    assert link.ask(Operation.ATTACH, os.getpid(), timeout_s=5) is True
    status = link.ask(Operation.STATUS, timeout_s=5)
    assert (status["agent_pid"], status["workers"]) == (pids[0], [os.getpid()])
    link.close()
    wait_for(lambda: not node_pids(Path(settings.state_dir)), "the agent to go")
    assert not home.agent_socket.exists()
    assert "has left" in home.agent_log.read_text()


def test_the_foreground_agent_leaves_on_sigterm_and_a_second_one_does_not_start(
    settings: Settings,
) -> None:
    environment = {
        **os.environ,
        "CLUSTERSESSION_STATE_DIR": settings.state_dir, "CLUSTERSESSION_ROUTE": "tomcat1",
        "CLUSTERSESSION_BIND": "127.0.0.1", "CLUSTERSESSION_SECRET": "s" * 32,
        "CLUSTERSESSION_MULTICAST_ADDRESS": "", "CLUSTERSESSION_PORT": str(settings.port),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    command = [sys.executable, "-m", "clustersession", "agent"]
    home = node_home(settings)
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: is_up(home), "the agent")
        second = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=20
        )
        assert second.returncode == 1
        assert "another agent" in second.stderr
    finally:
        first.send_signal(signal.SIGTERM)
        _, log = first.communicate(timeout=20)
    assert first.returncode == 0
    assert "has left" in log


def test_an_agent_that_finds_no_port_says_so(settings: Settings, tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "clustersession", "agent"],
            env={
                **os.environ, "CLUSTERSESSION_STATE_DIR": str(tmp_path),
                "CLUSTERSESSION_PORT": str(port),
                "CLUSTERSESSION_PORT_RANGE": "1", "CLUSTERSESSION_BIND": "127.0.0.1",
                "CLUSTERSESSION_ROUTE": "tomcat9", "CLUSTERSESSION_SECRET": "s" * 32,
                "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            },
            capture_output=True, text=True, timeout=20,
        )
    assert done.returncode == 1
    assert str(port) in done.stderr


def test_no_secret_beyond_loopback_is_refused_with_the_remedy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clustersession", "agent"],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("CLUSTERSESSION_")},
            "CLUSTERSESSION_STATE_DIR": str(tmp_path), "CLUSTERSESSION_BIND": "0.0.0.0",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        },
        capture_output=True, text=True, timeout=20,
    )
    assert done.returncode == 1
    assert "CLUSTERSESSION_SECRET" in done.stderr
    assert "Traceback" not in done.stderr
