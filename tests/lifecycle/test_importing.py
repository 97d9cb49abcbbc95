"""Importing an application starts nothing: no socket, no thread, no agent, no file.

Processes that import it and do not serve are held still, and looked at from outside.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.processes import (
    accepts_connections,
    descendants,
    free_port,
    kill_hard,
    node_pids,
    wait_for,
)

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]

APP = """
from flask import Flask
from starlette.applications import Starlette

from clustersession import asgi, wsgi
from clustersession.flask import ClusterSession

app = Flask(__name__)
app.config["SECRET_KEY"] = "a key for the tests only, long enough"
app.config["DISTRIBUTABLE"] = True
ClusterSession(app)
plain = wsgi.ClusterSessionMiddleware(app, distributable=True, secret="s" * 32)
over_asgi = asgi.ClusterSessionMiddleware(Starlette(), distributable=True, secret="s" * 32)
"""
STILL = "print('still', flush=True); import sys; sys.stdin.readline()"
POOL = """
import multiprocessing, shop

def task(number):
    with shop.app.app_context():
        return number

with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(task, range(8)) == list(range(8))
    print("still", flush=True)
    import sys; sys.stdin.readline()
"""
COLLECTED = """
import shop

def test_nothing():
    assert shop.app
"""
CONFTEST = """
import sys

def pytest_collection_finish(session):
    assert len(session.items) == 1
    print("still", file=sys.__stderr__, flush=True)
    input()
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Where a node would keep its state; it is not made."""
    return tmp_path / "state"


@pytest.fixture
def start(tmp_path: Path, state_dir: Path) -> Iterator[Start]:
    """A Python process beside the application ``shop``."""
    (tmp_path / "shop.py").write_text(APP)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CLUSTERSESSION_")}
    environment = {
        **inherited, "XDG_STATE_HOME": str(state_dir), "HOME": str(tmp_path / "nowhere"),
        "CLUSTERSESSION_BIND": "127.0.0.1", "CLUSTERSESSION_MULTICAST_ADDRESS": "",
        "CLUSTERSESSION_PORT": str(free_port()), "CLUSTERSESSION_ROUTE": "tomcat1",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *(p for p in sys.path if p)]),
        "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }
    with ExitStack() as cleanup:
        def process(*command: str) -> "subprocess.Popen[str]":
            started = cleanup.enter_context(subprocess.Popen(
                [sys.executable, *command], env=environment, cwd=tmp_path, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ))
            cleanup.callback(lambda: kill_hard([*node_pids(state_dir), started.pid]))
            return started

        yield process


def wait_until_still(process: "subprocess.Popen[str]") -> None:
    """Read what it prints until it says that it has imported everything."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if "still" in line:
            return
    pytest.fail(f"it ended: {seen}")


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process stand for."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(descriptor))
        except OSError:
            continue
    return found


def assert_nothing_started(pid: int, state_dir: Path, *, sockets: int = 0) -> None:
    """Of this process; ``sockets``: how many its server has."""
    files = open_files(pid)
    assert sum(name.startswith("socket:") for name in files) == sockets, files
    assert not [name for name in files if str(state_dir) in name]
    assert str(state_dir) not in Path(f"/proc/{pid}/maps").read_text()
    names = [(task / "comm").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    assert not [name for name in names if "clustersession" in name]


def assert_no_thread_was_started(pid: int) -> None:
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1


def assert_no_node(state_dir: Path) -> None:
    """No file was made, no agent runs."""
    assert not state_dir.exists()
    agents = [
        pid for pid in node_pids(state_dir)
        if b"clustersession.agent" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert not agents


def test_a_command_of_ones_own(start: Start, state_dir: Path) -> None:
    process = start("-c", f"import shop; {STILL}")
    wait_until_still(process)
    assert_nothing_started(process.pid, state_dir)
    assert_no_thread_was_started(process.pid)
    assert_no_node(state_dir)


def test_the_flask_shell(start: Start, state_dir: Path) -> None:
    process = start("-m", "flask", "--app", "shop", "shell")
    assert process.stdin is not None
    print("print('still')", file=process.stdin, flush=True)
    wait_until_still(process)
    assert_nothing_started(process.pid, state_dir)
    assert_no_thread_was_started(process.pid)
    assert_no_node(state_dir)


def test_a_command_of_flask(start: Start, state_dir: Path) -> None:
    process = start("-m", "flask", "--app", "shop", "routes")
    assert process.stdout is not None
    assert "static" in process.stdout.read()
    assert process.wait(20) == 0
    assert_no_node(state_dir)


def test_pytest_collecting(start: Start, tmp_path: Path, state_dir: Path) -> None:
    (tmp_path / "test_shop.py").write_text(COLLECTED)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    process = start("-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "--collect-only")
    wait_until_still(process)
    assert_nothing_started(process.pid, state_dir)
    assert_no_thread_was_started(process.pid)
    assert_no_node(state_dir)


def test_task_processes_with_a_pool(start: Start, state_dir: Path) -> None:
    process = start("-c", POOL)
    wait_until_still(process)
    children = descendants(process.pid)
    assert len(children) == 2
    for pid in (process.pid, *children):
        assert_nothing_started(pid, state_dir)
    assert_no_node(state_dir)


def test_the_parent_of_werkzeugs_reloader(start: Start, state_dir: Path) -> None:
    port = free_port()
    process = start("-m", "flask", "--app", "shop", "run", "--debug", "-p", str(port))
    wait_for(lambda: accepts_connections(port), "the server", 30.0)
    wait_for(lambda: descendants(process.pid), "the child that serves")
    # The listening socket is the parent's, which hands it on.
    assert_nothing_started(process.pid, state_dir, sockets=1)
    assert_no_thread_was_started(process.pid)
    assert_no_node(state_dir)


def test_the_parent_of_uvicorns_reloader(start: Start, state_dir: Path) -> None:
    port = free_port()
    process = start("-m", "uvicorn", "--reload", "--port", str(port), "shop:over_asgi")
    wait_for(lambda: accepts_connections(port), "the server", 30.0)
    # The child that serves has joined, by the lifespan of ASGI; the parent has no part in it.
    wait_for(lambda: list(state_dir.rglob("agent.sock")), "the node of the child", 30.0)
    files = open_files(process.pid)
    assert not [name for name in files if str(state_dir) in name]
    assert str(state_dir) not in Path(f"/proc/{process.pid}/maps").read_text()
    agent = int(next(state_dir.rglob("agent.lock")).read_text())
    assert agent not in descendants(process.pid)
