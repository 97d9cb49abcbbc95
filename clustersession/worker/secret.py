"""Makes the secret where none was given, and compares it between workers."""

import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path

from clustersession.core.errors import ReplicaError, ReplicaUnusable
from clustersession.replica.home import SECRET_FILE_SUFFIX
from clustersession.replica.private_directory import check_way, make_private, private_opener
from clustersession.replica.replica import Replica
from clustersession.settings.rules import SECRET_COMMAND
from clustersession.settings.settings import Settings
from clustersession.settings.sources import guessable_secret
from clustersession.worker.known_secrets import digests_of
from clustersession.worker.places import state_dir_of

SECRET_NOTE = "secret"
_SECRET_BYTES = 32

_log = logging.getLogger("clustersession")


def own_secret(settings: Settings) -> str:
    """Return this user's own random secret, made if need be, for clusters that were given none.

    Raises ReplicaUnusable.
    """
    path = own_secret_file(settings)
    try:
        if settings.state_dir and path.parent.is_dir():
            check_way(path.parent)
        else:
            make_private(path.parent)
        return _shared_secret(path).hex()
    except OSError as error:
        raise ReplicaUnusable(
            f"{path} cannot be made or read: {error.strerror}; set secret, or another state_dir"
        ) from error


def own_secret_file(settings: Settings) -> Path:
    """Return the file of the user's own secret: by cluster name, beside the nodes' directories.

    So the nodes of one user and one place share it, and accept each other's ids. It goes where the
    nodes go, which may be the only place that can be written, and that outlives a container. Unlike
    the user's own place, a ``state_dir`` may be that of several users.
    """
    user = f".{os.geteuid()}" if settings.state_dir else ""
    return state_dir_of(settings) / f"{settings.cluster_name}{user}{SECRET_FILE_SUFFIX}"


def _shared_secret(path: Path) -> bytes:
    """Read the secret, or make it so that of racing workers all read the same."""
    for _ in range(3):
        try:
            secret = _read(path)
        except FileNotFoundError:
            pass
        else:
            if len(secret) == _SECRET_BYTES:
                return secret
            raise ReplicaUnusable(f"{path} is damaged; remove it (sessions will then end)")
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            try:
                os.write(descriptor, secrets.token_bytes(_SECRET_BYTES))
                # Or the file may be empty after a power cut, and no node starts any more.
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            with suppress(FileExistsError):
                # Unlike rename, link never replaces: the first worker's secret stands.
                os.link(draft, path)
        finally:
            draft.unlink()
    return _read(path)


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=private_opener) as file:
            if os.fstat(file.fileno()).st_uid == os.geteuid():
                return file.read()
    except PermissionError:
        pass
    raise ReplicaUnusable(f"{path} belongs to another user; set secret, or another state_dir")


_warned: set[str] = set()
"""What this process has said about its secrets: several applications in it may have the same."""


def warn_of_guessable(settings: Settings) -> None:
    """Say in the log, once, that a secret can be guessed; where others get in it is refused."""
    why = guessable_secret(settings)
    if why and why not in _warned:
        _warned.add(why)
        _log.warning(
            "clustersession: a secret can be guessed: %s; whoever has a cookie can try guesses. A "
            "cluster of several hosts refuses it. Make one with %s",
            why, SECRET_COMMAND,
        )


def compare_secret(settings: Settings, replica: Replica) -> None:
    """Warn when workers of one node sign with secrets that others of it do not accept.

    The node has had them all, or it would be another one: a rotation leaves somebody behind.
    """
    accepted = [d.encode() for d in digests_of(settings.secret, settings.cluster_name)]
    own, known = accepted[0], None
    try:
        known = replica.load_note(SECRET_NOTE)
        if known != own:
            replica.save_note(SECRET_NOTE, own)
    except ReplicaError:
        return
    if known is not None and known not in accepted:
        _log.warning(
            "clustersession: the secret of node %s is not the one its workers had before; unless "
            "it was just replaced, give all of them the same, or they end each other's sessions",
            settings.route,
        )
