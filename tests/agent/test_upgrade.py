"""An agent of a newer library takes over from an older one; never the other way, never to and fro.

The later version is a copy of this tree with another version number. Workers are processes of
either tree that hold one session open.
"""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import clustersession
from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import ask_agent
from clustersession.replica.home import NodeHome
from clustersession.tools.demo.processes import free_port, kill_node, wait_for
from clustersession.wire.local import Operation
from clustersession.worker.known_secrets import directory_name
from tests.support.other_version import package_of_version

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

LATER = "99.0.0"
WORKER = """
import sys
from clustersession.worker.runtime import Runtime

runtime = Runtime.from_options({})
runtime.start()
manager, cookie = runtime.manager(), None
print("up", flush=True)
for line in sys.stdin:
    visit = manager.open([cookie] if cookie else [])
    session = visit.session
    session["n"] = session.get("n", 0) + 1
    given = manager.commit(visit).set_cookie
    cookie = given.partition("=")[2].partition(";")[0] if given else cookie
    print(session["n"], flush=True)
runtime.close()
"""

Start = Callable[[Path], "subprocess.Popen[str]"]


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """A directory to import the later version from."""
    return package_of_version(LATER, tmp_path / "later")


SECRET = secrets.token_urlsafe(32)


@pytest.fixture
def current() -> Path:
    return Path(clustersession.__file__).parents[1]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[NodeHome]:
    state_dir = tmp_path / "state"
    yield NodeHome(state_dir / directory_name("clustersession", "tomcat1", SECRET))
    kill_node(state_dir)


@pytest.fixture
def start(tmp_path: Path, home: NodeHome) -> Iterator[Start]:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("CLUSTERSESSION_")},
        "CLUSTERSESSION_DISTRIBUTABLE": "true", "CLUSTERSESSION_ROUTE": "tomcat1",
        "CLUSTERSESSION_STATE_DIR": str(home.directory.parent),
        "CLUSTERSESSION_BIND": "127.0.0.1", "CLUSTERSESSION_MULTICAST_ADDRESS": "",
        "CLUSTERSESSION_PORT": str(free_port()), "CLUSTERSESSION_AGENT_LINGER_S": "1",
        "CLUSTERSESSION_SECRET": SECRET,
    }
    with ExitStack() as cleanup:
        def worker(tree: Path) -> "subprocess.Popen[str]":
            process = cleanup.enter_context(subprocess.Popen(
                [sys.executable, "-c", WORKER], text=True, cwd=tree,
                env={**environment, "PYTHONPATH": str(tree)},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            ))
            cleanup.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            return process

        yield worker


def count(worker: "subprocess.Popen[str]") -> int:
    """One request that writes."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    print(file=worker.stdin, flush=True)
    return int(worker.stdout.readline())


def agent(home: NodeHome) -> dict[str, Any]:
    """What the agent says; nothing while there is none."""
    try:
        status: dict[str, Any] = ask_agent(home, Operation.STATUS)
    except (AgentGone, TimeoutError):
        return {"version": None, "workers": [], "agent_pid": 0}
    return status


def starts(home: NodeHome) -> list[str]:
    """The versions of the agents that have started, in order."""
    return re.findall(r" starts in cluster \S+, version (\S+)", home.agent_log.read_text())


def serves(home: NodeHome, version: str, *workers: "subprocess.Popen[str]") -> None:
    wanted = sorted(worker.pid for worker in workers)

    def all_attached() -> bool:
        seen = agent(home)
        return seen["version"] == version and sorted(seen["workers"]) == wanted

    wait_for(all_attached, f"an agent of {version} with workers {wanted}", 30.0)


def test_the_agent_is_replaced_under_workers_of_both_versions(
    start: Start, home: NodeHome, current: Path, later: Path
) -> None:
    old = [start(current) for _ in range(3)]
    serves(home, clustersession.__version__, *old)
    assert [count(worker) for worker in old] == [1, 1, 1]
    new = [start(later) for _ in range(3)]
    serves(home, LATER, *old, *new)
    assert [count(worker) for worker in old] == [2, 2, 2], "the session lives on"
    assert [count(worker) for worker in new] == [1, 1, 1]
    assert starts(home) == [clustersession.__version__, LATER]
    assert "has left" in home.agent_log.read_text()


def test_a_newer_agent_is_left_alone_by_older_workers(
    start: Start, home: NodeHome, current: Path, later: Path
) -> None:
    new = start(later)
    serves(home, LATER, new)
    pid = agent(home)["agent_pid"]
    old = [start(current) for _ in range(3)]
    serves(home, LATER, new, *old)
    assert count(old[0]) == 1
    assert agent(home)["agent_pid"] == pid
    assert starts(home) == [LATER]


def test_after_a_way_back_the_old_version_serves_again(
    start: Start, home: NodeHome, current: Path, later: Path
) -> None:
    new = start(later)
    serves(home, LATER, new)
    old = start(current)
    new.kill()
    serves(home, LATER, old)
    os.kill(agent(home)["agent_pid"], 9)
    serves(home, clustersession.__version__, old)
    assert count(old) == 1


@pytest.mark.extended
def test_a_new_version_whose_agent_cannot_start_leaves_the_old_one_in_peace(
    start: Start, home: NodeHome, current: Path, later: Path
) -> None:
    old = start(current)
    serves(home, clustersession.__version__, old)
    (later / "clustersession" / "agent" / "__main__.py").write_text("raise SystemExit(1)\n")
    new = [start(later) for _ in range(2)]
    serves(home, clustersession.__version__, old, *new)
    assert [count(worker) for worker in (old, *new)] == [1, 1, 1]
    assert starts(home) == [clustersession.__version__] * 2
