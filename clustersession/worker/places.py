"""Decides where a node keeps its files: in a private directory of its own."""

import os
import socket
import tempfile
from pathlib import Path

from clustersession.core.ids import derive_route
from clustersession.replica.home import NodeHome
from clustersession.replica.private_directory import make_private
from clustersession.settings.settings import Settings
from clustersession.worker.known_secrets import find_or_begin
from clustersession.worker.run_of_tests import apart, is_test_run, own_place, tests_state_dir


def route_of(settings: Settings) -> str:
    """Return the configured route, or one derived from the host name."""
    return settings.route or derive_route(socket.gethostname())


def user_state_dir() -> Path:
    """Return the directory under which this user's nodes keep their state."""
    if (place := tests_state_dir()) is not None:
        return place
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "clustersession"
    if is_test_run():
        # Also where the settings decide: nobody has configured the user's own.
        return own_place()
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
    if (place := tests_state_dir()) is not None:
        return apart(place, settings.state_dir)
    # Absolute, because the agent works in another directory.
    return Path(settings.state_dir).absolute() if settings.state_dir else user_state_dir()
