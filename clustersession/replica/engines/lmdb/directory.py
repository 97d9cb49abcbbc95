"""Decides whether the directory of an LMDB replica is ours, local and to be trusted.

LMDB is opened without syncing, so after a crash of the whole machine its file may hold anything,
and even looking into it may kill the process. The file ``boot`` beside it says, before LMDB is
touched, in which boot of the machine the replica was last open and whether it was closed cleanly.
"""

import fcntl
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clustersession.core.errors import ReplicaUnusable
from clustersession.replica.lasting_files import replace_text
from clustersession.replica.private_directory import HeldDirectory, make_private, private_opener

DATA_FILE = "data.mdb"
LOCK_FILE = "lock.mdb"
_BOOT_FILE = "boot"
_CLEAN = "clean"
_OPEN = "open"

# Memory maps and locks of several hosts do not agree there.
NETWORK_FILE_SYSTEMS = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.davfs2", "fuse.glusterfs",
    "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "smb2", "smb3", "smbfs", "vboxsf",
})


MEMORY_FILE_SYSTEMS = frozenset({"ramfs", "tmpfs"})
"""What is there goes with the power."""


def prepare(directory: Path) -> None:
    """Make the directory, private to this user, or raise ReplicaUnusable saying why not."""
    make_private(directory)
    for name in (DATA_FILE, LOCK_FILE):
        if (directory / name).is_symlink():
            raise ReplicaUnusable(f"{directory / name} is a symbolic link; remove it")
    if sys.platform == "linux":
        kind = file_system_here(directory)
        if kind in NETWORK_FILE_SYSTEMS:
            raise ReplicaUnusable(
                f"{directory} is on a network file system ({kind}); choose a local state_dir"
            )


def file_system_here(directory: Path) -> str:
    """Return the type of the file system that an absolute path is on; empty where none is told."""
    if sys.platform != "linux":
        return ""
    return file_system_of(str(directory), Path("/proc/self/mountinfo").read_text())


def file_system_of(path: str, mountinfo: str) -> str:
    """Return the type of the file system an absolute path is on, from the text of ``mountinfo``."""
    kind, longest = "", -1
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        if not tail:
            continue
        mount = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), head.split(" ")[4])
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        # Of two mounts on one point the later one covers the earlier.
        if inside and len(mount) >= longest:
            kind, longest = tail.split(" ", 1)[0], len(mount)
    return kind


@contextmanager
def exclusive_opening(directory: Path) -> Iterator[None]:
    """Hold the right to open, replace or close down this replica, against other processes.

    A record lock: unlike one of ``flock`` it does not live on in a child forked meanwhile.
    """
    descriptor = _open_lock(directory.with_name(f"{directory.name}.lock"))
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def claim_for_interpreter(directory: Path) -> int:
    """Keep other interpreters of this process from the replica until the descriptor is closed.

    mod_wsgi runs each application in an interpreter of its own, in one process, and no variable of
    Python's is seen by both. A process's open files are. Nothing is locked on this one, because
    record locks belong to the process. Raises ReplicaUnusable; two that come at once both do.
    """
    claim = _open_lock(directory.with_name(f"{directory.name}.claim"))
    mine = os.fstat(claim)
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):
            if int(name) != claim and os.path.samestat(os.fstat(int(name)), mine):
                os.close(claim)
                raise ReplicaUnusable(
                    f"the replica in {directory} is already open in another interpreter of this "
                    "process, as mod_wsgi has one for each application: add WSGIApplicationGroup "
                    "%{GLOBAL} to the configuration of each of them, or give each one a "
                    "WSGIDaemonProcess or a route of its own"
                )
    return claim


def _open_lock(path: Path) -> int:
    try:
        descriptor = private_opener(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise ReplicaUnusable(f"{path} cannot be locked: {error.strerror}") from error
    if os.fstat(descriptor).st_uid != os.geteuid():
        os.close(descriptor)
        raise ReplicaUnusable(f"{path} belongs to another user; choose another state_dir")
    return descriptor


def is_trustworthy(directory: Path, boot_id: str) -> bool:
    """Tell whether what the directory holds, if anything, survived in full."""
    if not (directory / DATA_FILE).exists():
        return True
    try:
        boot, how, *_ = (directory / _BOOT_FILE).read_text().split("\n")
    except (OSError, ValueError):
        return False
    return boot == boot_id or how == _CLEAN


def note_open(directory: Path, boot_id: str) -> None:
    """Note that from here on only this boot of the machine may trust the contents."""
    _write_boot(directory, f"{boot_id}\n{_OPEN}")


def note_clean(directory: Path, boot_id: str) -> None:
    """Note that the contents are synced to disk and nobody has them open."""
    _write_boot(directory, f"{boot_id}\n{_CLEAN}")


def note_damaged(directory: Path) -> None:
    """Have whoever opens the replica next set it aside."""
    with suppress(OSError):
        (directory / _BOOT_FILE).unlink()


def _write_boot(directory: Path, text: str) -> None:
    path = directory / _BOOT_FILE
    with suppress(OSError, ValueError):
        if path.read_text() == text:
            return
    replace_text(path, text)


def is_used(directory: Path) -> bool:
    """Tell whether anybody uses the replica. Ask while opening is excluded, and not as a user."""
    held = HeldDirectory(directory)
    try:
        return not held.is_alone()
    finally:
        held.close()


def refuse_removed(directory: Path) -> None:
    """Refuse a replica that is used and whose files are gone. Raises ReplicaUnusable.

    Its users go on in files without a name; a new one would make others, apart from theirs.
    """
    missing = [name for name in (DATA_FILE, LOCK_FILE) if not (directory / name).exists()]
    if missing:
        raise ReplicaUnusable(
            f"files ({' and '.join(missing)}) were removed from {directory} while processes use "
            "them, by a cleaner of old files perhaps. What this node holds lives on in those "
            "processes only: end them all, the agent too, and start again; the other nodes give "
            "back what they hold. Set state_dir to where nothing is removed"
        )


def bring_to_disk(directory: Path) -> None:
    """Sync a replica that nobody has open."""
    with (directory / DATA_FILE).open("rb") as file:
        os.fsync(file.fileno())


def set_aside(directory: Path, label: str) -> Path:
    """Rename the directory to ``<name>.<label>-<n>``; of such remains only the latest is kept."""
    numbered = {
        int(found[1]): entry
        for entry in directory.parent.iterdir()
        if (found := re.fullmatch(rf"{re.escape(directory.name)}\.{label}-(\d{{1,9}})", entry.name))
    }
    target = directory.with_name(f"{directory.name}.{label}-{max(numbered, default=0) + 1}")
    directory.rename(target)
    for entry in numbered.values():
        shutil.rmtree(entry, ignore_errors=True)
    return target
