"""Decides where a node keeps its files: in a private directory of its own."""

import atexit
import logging
import os
import shutil
import socket
import sys
import tempfile
from functools import cache
from pathlib import Path

from clustersession.core.errors import ReplicaUnusable
from clustersession.core.ids import derive_route
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings

logger = logging.getLogger("clustersession")


def route_of(settings: Settings) -> str:
    """Return the configured route, or one derived from the host name."""
    return settings.route or derive_route(socket.gethostname())


def user_state_dir() -> Path:
    """Return the directory under which this user's nodes keep their state."""
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "clustersession"
    if _is_test_run():
        return _place_of_tests()
    home = Path.home() if "HOME" in os.environ else None
    if home is not None and home.is_dir() and os.access(home, os.W_OK):
        return home / ".local" / "state" / "clustersession"
    # Service users often have no home; the directory must then be ours alone, which is checked.
    return Path(tempfile.gettempdir()) / f"clustersession-{os.getuid()}"


def _is_test_run() -> bool:
    """Tell whether pytest runs in this process. A server that merely has it installed does not."""
    runs = "PYTEST_VERSION" in os.environ or "PYTEST_CURRENT_TEST" in os.environ
    return runs and "pytest" in sys.modules


@cache
def _place_of_tests() -> Path:
    """Make a directory for the tests of this process, which go with it.

    In the user's own they would write into whatever node runs there.
    """
    place = Path(tempfile.mkdtemp(prefix="clustersession-pytest-"))
    logger.info(
        "clustersession: under pytest, without state_dir: sessions are kept in %s, apart from "
        "the user's nodes", place,
    )
    maker = os.getpid()

    def remove() -> None:
        if os.getpid() == maker:
            shutil.rmtree(place, ignore_errors=True)

    atexit.register(remove)
    return place


def node_home(settings: Settings) -> NodeHome:
    """Return the node's private directory, made if need be. Raises ReplicaUnusable."""
    if settings.state_dir:
        # Absolute, because the agent works in another directory.
        base = Path(settings.state_dir).absolute()
    else:
        # It may be in the temporary directory, where another user could have made it first.
        base = user_state_dir()
        make_private(base, base)
    directory = base / f"{settings.cluster_name}.{route_of(settings)}"
    make_private(base, directory)
    return NodeHome(directory)


def make_private(base: Path, directory: Path) -> None:
    """Make a directory that is ours alone, under ``base``. Raises ReplicaUnusable."""
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise ReplicaUnusable(
            f"cannot make the state directory {directory}: {error.strerror}; set state_dir"
        ) from error
    if found.st_uid != os.getuid():
        raise ReplicaUnusable(f"{directory} belongs to another user; set state_dir")
    if found.st_mode & 0o077:
        directory.chmod(0o700)
