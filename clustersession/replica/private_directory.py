"""Makes directories that are this user's alone, and holds them while a process lives on them.

It opens the files in them, too.

They may have to be where everybody can make files, and where a cleaner removes what is old.
"""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from clustersession.core.errors import ReplicaUnusable

_OPENING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWOTH
_LINKS_MAX = 40


def make_private(directory: Path) -> None:
    """Make the directory, and what leads to it, for this user alone. Raises ReplicaUnusable."""
    try:
        # Before, so that nothing is made behind another user's link; after, because he may have
        # been quicker. What is ours or root's then, nobody else can take away.
        check_way(directory)
        _make(directory)
        check_way(directory)
        descriptor = os.open(directory, _OPENING)
        try:
            _close_to_others(descriptor, directory)
        finally:
            os.close(descriptor)
    except NotADirectoryError as error:
        raise ReplicaUnusable(f"{directory} is a link, or no directory; set state_dir") from error
    except OSError as error:
        raise ReplicaUnusable(
            f"the directory {directory} cannot be made or used: {error.strerror or error}; set "
            "state_dir"
        ) from error


def _make(directory: Path) -> None:
    if not directory.parent.exists():
        _make(directory.parent)
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)


def _close_to_others(descriptor: int, directory: Path) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        raise ReplicaUnusable(
            f"{directory} belongs to another user, {found.st_uid}, and this process runs as "
            f"{os.geteuid()}; choose another state_dir"
        )
    if found.st_mode & _OTHERS_WRITE and os.listdir(descriptor):
        raise ReplicaUnusable(
            f"everybody could write in {directory}, so what it holds may be anybody's; remove it "
            "or choose another state_dir"
        )
    if found.st_mode & 0o077:
        os.fchmod(descriptor, 0o700)
        if os.fstat(descriptor).st_mode & 0o022:
            raise ReplicaUnusable(f"{directory} can be written by others and cannot be closed")


def check_way(path: Path) -> None:
    """Refuse a path that another user could have led elsewhere. Raises ReplicaUnusable, OSError.

    In a directory in which everybody may write, the next step must belong to us or to root, and a
    link everywhere: where it leads is its owner's choice. In a directory with the sticky bit nobody
    else can exchange a step after it was looked at; without it, as in a volume of Kubernetes, and
    in a directory of his own, another user can.
    """
    way, steps, links = Path("/"), [*reversed(path.absolute().parts[1:])], 0
    while steps:
        anybodys = os.stat(way).st_mode & _OTHERS_WRITE
        way = way.parent if (step := steps.pop()) == ".." else way / step
        try:
            found = os.lstat(way)
        except FileNotFoundError:
            return
        is_link = stat.S_ISLNK(found.st_mode)
        if (anybodys or is_link) and found.st_uid not in (0, os.geteuid()):
            what = "a link" if is_link else "a directory where everybody may make one"
            raise ReplicaUnusable(
                f"{way} was made by user {found.st_uid}, and is {what}; remove it or choose "
                "another state_dir"
            )
        if is_link:
            links += 1
            if links > _LINKS_MAX:
                raise ReplicaUnusable(f"{path} goes through too many symbolic links")
            target = Path(os.readlink(way))
            way = Path("/") if target.is_absolute() else way.parent
            steps += [step for step in reversed(target.parts) if step != "/"]


def private_opener(path: str | Path, flags: int) -> int:
    """Open a file of a private directory, for ``open``; made for this user, and never by a link.

    Nor does it wait: for a pipe of that name, which another user may have made beside our
    directories, the process would wait for ever.
    """
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)


class HeldDirectory:
    """Holds a shared lock on a directory until it is closed.

    systemd-tmpfiles passes by a directory with a lock on it, and what is in it. And a directory
    cannot be taken away while something is in it, so unlike a file of locks this one is always
    there to tell that somebody uses what it holds. Raises OSError.

    _descriptor: the open directory; None once it is closed.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor: int | None = None
        _held.add(self)
        self._descriptor = os.open(directory, _OPENING)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def is_alone(self) -> bool:
        """Tell whether nobody else holds it. Ask only while others are kept from beginning to."""
        if self._descriptor is None:
            return False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            # The attempt gives up the shared lock, whether it succeeds or not.
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        return True

    def close(self) -> None:
        """Let go; safe to repeat."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_held: WeakSet[HeldDirectory] = WeakSet()


def _let_go_in_child() -> None:
    """Close the copies that a child of a fork has: its parent's lock must end with its parent."""
    for held in list(_held):
        held.close()


os.register_at_fork(after_in_child=_let_go_in_child)
