"""Where a node keeps its files, and the secret that signs ids where no other was given."""

import os
import secrets
import socket
import tempfile
from pathlib import Path

from clustersession.core.errors import ConfigurationError, ReplicaUnusable
from clustersession.core.ids import derive_route
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings

_SECRET_BYTES = 32


def route_of(settings: Settings) -> str:
    """The configured route, or one derived from the host name."""
    return settings.route or derive_route(socket.gethostname())


def user_state_dir() -> Path:
    """The directory under which this user's nodes keep their state."""
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "clustersession"
    home = Path.home() if "HOME" in os.environ else None
    if home is not None and home.is_dir() and os.access(home, os.W_OK):
        return home / ".local" / "state" / "clustersession"
    # Service users often have no home; the directory must then be ours alone, which is checked.
    return Path(tempfile.gettempdir()) / f"clustersession-{os.getuid()}"


def node_home(settings: Settings) -> NodeHome:
    """The node's private directory, made if need be. Raises ReplicaUnusable."""
    if settings.state_dir:
        # Absolute, because the agent works in another directory.
        base = Path(settings.state_dir).absolute()
    else:
        # It may be in the temporary directory, where another user could have made it first.
        base = user_state_dir()
        _make_private(base, base)
    directory = base / f"{settings.cluster_name}.{route_of(settings)}"
    _make_private(base, directory)
    return NodeHome(directory)


def derive_secret(framework_key: str | bytes) -> str:
    """A cluster secret from the web framework's secret key; it does not reveal that key."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    key = framework_key.encode() if isinstance(framework_key, str) else framework_key
    if not key:
        raise ConfigurationError("the web framework's secret key is empty")
    kdf = HKDF(SHA256(), 32, b"clustersession secret 1", b"from the framework's secret key")
    return kdf.derive(key).hex()


def id_secrets(settings: Settings) -> list[bytes]:
    """The secrets that sign session ids, newest first.

    Without a configured one it is a random one in a file of the user, by cluster name: not inside
    ``state_dir``, so that nodes of one user on one host share it and accept each other's ids.
    """
    if settings.secret:
        return [secret.encode() for secret in settings.secret]
    base = user_state_dir()
    _make_private(base, base)
    return [_shared_secret(base / f"{settings.cluster_name}.id-secret")]


def _shared_secret(path: Path) -> bytes:
    """Read the secret, or make it so that of racing workers all read the same."""
    for _ in range(3):
        try:
            secret = path.read_bytes()
        except FileNotFoundError:
            pass
        else:
            if len(secret) == _SECRET_BYTES:
                return secret
            raise ReplicaUnusable(f"{path} is damaged; remove it (sessions will then end)")
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(_SECRET_BYTES))
        finally:
            os.close(descriptor)
        try:
            # Unlike rename, link never replaces: the first worker's secret stands.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()


def _make_private(base: Path, directory: Path) -> None:
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
