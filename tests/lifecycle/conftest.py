"""Workers of one node, in a state directory of its own; everything is ended afterwards."""

import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from clustersession.replica.home import NodeHome
from clustersession.worker.known_secrets import directory_name
from tests.lifecycle.worker import Worker
from tests.support.apps import ROOT
from tests.support.processes import free_port, kill_node, wait_for

StartWorker = Callable[..., Worker]


SECRET = secrets.token_urlsafe(32)


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """Not below pytest's own directory, which no other user may enter."""
    with tempfile.TemporaryDirectory(prefix="clustersession-life-") as directory:
        os.chmod(directory, 0o755)
        path = Path(directory) / "state"
        path.mkdir(mode=0o700)
        yield path
        kill_node(path)


@pytest.fixture
def home(state_dir: Path) -> NodeHome:
    return NodeHome(state_dir / directory_name("clustersession", "tomcat1", SECRET))


@pytest.fixture
def environment(state_dir: Path) -> dict[str, str]:
    """Of one node, alone on loopback."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("CLUSTERSESSION_")},
        "CLUSTERSESSION_STATE_DIR": str(state_dir),
        "CLUSTERSESSION_ROUTE": "tomcat1",
        "CLUSTERSESSION_BIND": "127.0.0.1",
        "CLUSTERSESSION_PORT": str(free_port()),
        "CLUSTERSESSION_MULTICAST_ADDRESS": "",
        "CLUSTERSESSION_SECRET": SECRET,
        "CLUSTERSESSION_AGENT_LINGER_S": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(p for p in sys.path if p)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def start(environment: dict[str, str], state_dir: Path) -> Iterator[StartWorker]:
    """``start("unshare", "-p", ...)`` is a worker inside; its errors go to ``worker.log``."""
    with ExitStack() as cleanup:
        def worker(*inside: str, **changed: str) -> Worker:
            log = state_dir.parent / "worker.log"
            started = Worker({**environment, **changed}, inside, log=log)
            cleanup.callback(started.stop)
            return started

        yield worker


@pytest.fixture
def refused(start: StartWorker, state_dir: Path) -> Callable[..., str]:
    """Why a worker started in that way ends."""
    def why(*inside: str, **changed: str) -> str:
        worker = start(*inside, **changed)
        assert worker.process.wait(20) == 1
        return (state_dir.parent / "worker.log").read_text()

    return why


def zombies(pid: int) -> list[int]:
    """The dead children that a process has not taken notice of."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == pid:
            found.append(int(stat.parent.name))
    return found


__all__ = ["Sequence", "StartWorker", "wait_for", "zombies"]
