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

from clustersession.core.ids import derive_route
from clustersession.replica.home import NodeHome
from clustersession.replica.private_directory import make_private
from clustersession.settings.settings import Settings
from clustersession.worker.known_secrets import find_or_begin

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
    # What StateDirectory= of the service's systemd unit made, the first of them.
    if base := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(base) / "clustersession"
    home = Path.home() if "HOME" in os.environ else None
    if home is not None and home.is_dir() and os.access(home, os.W_OK):
        return home / ".local" / "state" / "clustersession"
    # Service users often have no home.
    return temporary_state_dir()


def temporary_state_dir() -> Path:
    """Return the directory that is left where there is no home: in the system's temporary one.

    It must be ours alone, which is checked, and is held against cleaners of old files. The runtime
    directory of the user or of the service is none: it goes when the last login, or the service,
    ends.
    """
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
    """Return the node's private directory, made if need be; ``settings`` are complete.

    Raises ReplicaUnusable.
    """
    base = state_dir_of(settings)
    if not settings.state_dir or not base.exists():
        # It may be in the temporary directory, where another user could have made it first.
        make_private(base)
    return find_or_begin(base, settings.cluster_name, route_of(settings), settings.secret)


def state_dir_of(settings: Settings) -> Path:
    """Return the directory in which the nodes of these settings have theirs."""
    # Absolute, because the agent works in another directory.
    return Path(settings.state_dir).absolute() if settings.state_dir else user_state_dir()
