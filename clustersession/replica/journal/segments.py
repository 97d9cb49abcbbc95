"""Holds the files of a journal: numbered segments, and the mark that says whose they are.

All are this user's alone. A later segment does not take the place of an earlier one, it goes on;
what may go is removed by whoever has written all of it again.
"""

import fcntl
import os
import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from clustersession.core.errors import ReplicaUnusable, WireError
from clustersession.core.identity import NODE_ID_BYTES
from clustersession.replica.lasting_files import replace_text, sync_directory
from clustersession.replica.private_directory import make_private, private_opener
from clustersession.wire.journal import (
    HEADER_BYTES,
    SALT_BYTES,
    JournalEntry,
    encode_entry,
    file_header,
    salt_of,
)

_SUFFIX = ".log"
_MARK = "node"
_LOCK = "lock"


_here = threading.Lock()


def _unlock_in_child() -> None:
    """Make the lock anew: the thread that held it at the fork does not exist in the child."""
    global _here
    _here = threading.Lock()


os.register_at_fork(after_in_child=_unlock_in_child)


class JournalMark(NamedTuple):
    """Says under which node id, and since which start, all of the journal is in the replica."""

    node: bytes
    starts: int


class Segment:
    """Is one file of a journal, open to be appended to. Raises OSError.

    salt: see ``wire.journal``.
    """

    def __init__(self, path: Path, descriptor: int, salt: bytes) -> None:
        self.path = path
        self.salt = salt
        self._descriptor = descriptor

    @classmethod
    def begin(cls, directory: Path) -> "Segment":
        """Make the next segment. What others append meanwhile is kept out by ``others_wait``."""
        _prepare(directory)
        path = directory / f"{_next_number(directory):08d}{_SUFFIX}"
        salt = secrets.token_bytes(SALT_BYTES)
        descriptor = private_opener(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        segment = cls(path, descriptor, salt)
        segment._write(file_header(salt))
        return segment

    @classmethod
    def last(cls, directory: Path) -> "Segment":
        """Open the last segment, or make the first one."""
        paths = segments_of(directory)
        if not paths:
            return cls.begin(directory)
        descriptor = private_opener(paths[-1], os.O_RDWR | os.O_APPEND)
        try:
            return cls(paths[-1], descriptor, salt_of(os.pread(descriptor, HEADER_BYTES, 0)))
        except WireError:
            os.close(descriptor)
            return cls.begin(directory)

    @property
    def size(self) -> int:
        """Return how many bytes it has; other processes may append, too."""
        return os.fstat(self._descriptor).st_size

    def append(self, entries: Sequence[JournalEntry]) -> int:
        """Write entries; returns how many bytes they take."""
        data = b"".join([encode_entry(entry, self.salt) for entry in entries])
        self._write(data)
        return len(data)

    def sync(self) -> None:
        """Bring what was appended to the disk."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):
            os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]


def segments_of(directory: Path) -> list[Path]:
    """Return the segments of a journal in order; none when there is no journal."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(_SUFFIX))
    except OSError:
        return []
    return [directory / name for name in names]


def bytes_of(directory: Path) -> int:
    """Return what the segments take."""
    total = 0
    for path in segments_of(directory):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def remove_segments(paths: Sequence[Path]) -> None:
    """Remove what was written again elsewhere."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def remove_journal(directory: Path) -> None:
    """Remove a journal that misses something: out of it, ended sessions could come back.

    The mark goes first: without it the rest counts for nothing.
    """
    with suppress(OSError):
        (directory / _MARK).unlink()
        sync_directory(directory)
    shutil.rmtree(directory, ignore_errors=True)


def remove_unwanted(directory: Path) -> None:
    """Remove a journal that nobody keeps: it would be behind when one is wanted again."""
    if directory.exists():
        remove_journal(directory)


def read_mark(directory: Path) -> JournalMark | None:
    """Return the mark; None where there is none that can be read, and so no journal."""
    try:
        node, starts, *_ = (directory / _MARK).read_text().split("\n")
        mark = JournalMark(bytes.fromhex(node), int(starts))
    except (OSError, ValueError):
        return None
    return mark if len(mark.node) == NODE_ID_BYTES else None


def write_mark(directory: Path, mark: JournalMark) -> None:
    """Put the mark on the disk, in place of the one before. Raises OSError."""
    if read_mark(directory) == mark:
        return
    _prepare(directory)
    replace_text(directory / _MARK, f"{mark.node.hex()}\n{mark.starts}\n")


@contextmanager
def others_wait(directory: Path) -> Iterator[None]:
    """Keep other processes of the node from appending while a segment follows another one.

    Raises OSError.
    """
    # A record lock knows nothing of threads, and goes with any descriptor of its file.
    with _here:
        _prepare(directory)
        descriptor = private_opener(directory / _LOCK, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _prepare(directory: Path) -> None:
    try:
        make_private(directory)
    except ReplicaUnusable as error:
        raise OSError(str(error)) from error


def _next_number(directory: Path) -> int:
    paths = segments_of(directory)
    digits = paths[-1].stem if paths else ""
    return int(digits) + 1 if digits.isdigit() else len(paths) + 1
