"""Makes unix sockets at paths of any length.

The system keeps some hundred bytes for such a path and state directories can be deeper, so a long
path is reached through a descriptor of its directory where the system shows those as files.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clustersession.core.errors import ConfigurationError

PATH_BYTES_MAX = 100


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Spell the path short enough to bind or connect to, for as long as the block lasts."""
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        yield str(path)
        return
    if not os.path.isdir("/proc/self/fd"):
        raise ConfigurationError(
            f"state_dir is too long for a unix socket on this system: {path.parent}"
        )
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def listen_unix(path: Path) -> socket.socket:
    """Listen at the path, for its owner only; a dead socket's leftover is replaced.

    The caller holds the agent's lock, so whatever stands there is nobody's.
    """
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with reachable(path) as address:
            sock.bind(address)
        path.chmod(0o600)
        sock.listen(512)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_unix(path: Path, timeout_s: float | None) -> socket.socket:
    """Connect to the path, blocking. Raises OSError when nobody listens there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        with reachable(path) as address:
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
