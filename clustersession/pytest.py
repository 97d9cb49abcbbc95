"""Is the plugin for pytest: tests of an application meet no live node, and have fixtures.

pytest loads it for every run of whoever has us installed. So what it offers is imported when a test
asks for it, and a directory is made when an application opens its sessions. Without the plugin
(``-p no:clustersession``) sessions are kept apart as well, see ``worker.run_of_tests``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from glob import escape, glob
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from clustersession.testing import ClusterClock, ClusterNodes, PresetSession

INI = "clustersession_state_dir"
VARIABLE = "CLUSTERSESSION_TEST_STATE_DIR"
_TEMPORARY = "clustersession-tests-"
_BEFORE = pytest.StashKey[str | None]()
_MADE = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the configuration file."""
    parser.addini(
        INI,
        "where the applications under test keep their sessions: a directory, which is kept; "
        "'configured' for what their settings say, cluster included; empty for a temporary one",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name the directory of this run, or of this worker of pytest-xdist; nothing is made."""
    before = config.stash[_BEFORE] = os.environ.get(VARIABLE)
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    wanted = str(config.getini(INI))
    if wanted and wanted != "configured":
        place = _below(os.path.join(str(config.rootpath), wanted), worker)
    elif wanted or before == "configured":
        place = "configured"
    elif not before:
        place = config.stash[_MADE] = os.path.join(
            tempfile.gettempdir(), f"{_TEMPORARY}{os.getuid()}-{os.urandom(8).hex()}"
        )
    elif os.path.basename(before).startswith(_TEMPORARY):
        # Of the controller, which removes all; or of a run around this one, which removes it.
        place = f"{before}-{worker}" if worker else before
    else:
        place = _below(os.path.abspath(before), worker)
    os.environ[VARIABLE] = place


def _below(place: str, worker: str) -> str:
    return os.path.join(place, worker) if worker else place


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close what this process has open, and remove what was made for this run."""
    if _BEFORE not in config.stash:
        return
    before, made = config.stash[_BEFORE], config.stash.get(_MADE, "")
    if made or hasattr(config, "workerinput"):
        _close_all()
    for place in glob(escape(made) + "*") if made else ():
        _remove(place)
    if before is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = before


def _close_all() -> None:
    if "clustersession.worker.runtime" in sys.modules:
        from clustersession.testing.isolation import close_all

        close_all()


def _remove(place: str) -> None:
    from pathlib import Path

    from clustersession.worker.run_of_tests import remove

    remove(Path(place))


@pytest.fixture(scope="session")
def cluster_session_for() -> Callable[..., PresetSession]:
    """Store sessions and log test clients in; see ``clustersession.testing.session_for``."""
    from clustersession.testing import session_for

    return session_for


@pytest.fixture
def cluster_clock() -> Iterator[ClusterClock]:
    """Give the clock of the test's sessions, see ``clustersession.testing.moved_clock``."""
    from clustersession.testing import moved_clock

    with moved_clock() as clock:
        yield clock


@pytest.fixture
def cluster_nodes(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[..., ClusterNodes]]:
    """Start applications on several nodes, see ``clustersession.testing.running_nodes``."""
    from contextlib import ExitStack

    from clustersession.testing import running_nodes

    with ExitStack() as running:

        def start(app: str, nodes: int = 2, **options: Any) -> ClusterNodes:
            options.setdefault("app_directory", request.config.rootpath)
            return running.enter_context(running_nodes(app, nodes, **options))

        yield start
