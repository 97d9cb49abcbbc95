"""Keeps the reserve of an LMDB file, so that a logout is stored though the disk is full.

An end needs a few pages for a moment and gives back more than it took. So the file's blocks are
allocated a little ahead of its end, and what makes the replica grow is refused while no more than
that is left, inside the file and beyond its end. Where blocks cannot be allocated ahead, the size
of the map alone is kept to. A best effort: a reader that stands still keeps free pages from being
used again, and of several processes each may have let a few writes pass since it last looked.
"""

import errno
import os
import resource
from pathlib import Path
from typing import Protocol

import lmdb

from clustersession.replica.engines.lmdb.allocation import find_fallocate

RESERVE_BYTES = 2**20
RESERVE_SHARE_MAX = 4
"""A small map is not all reserve."""

CHECKED_EVERY = 4
"""Looking costs a microsecond, a hundredth of a write behind a server."""

AMPLE = 4
"""So many reserves free: no need to look at each write."""

_STEP_BYTES = 2**14
_STEP_SHARE = 64
_STEP_BYTES_MAX = 2**24
_BLOCK_BYTES = 512
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class HasSize(Protocol):
    """Knows what its tables take."""

    def bytes_used(self) -> int:
        """Return the bytes of all tables' pages."""
        ...


class DiskReserve:
    """Judges the growing writes of one process. To be asked within a writing transaction.

    bytes: how large the reserve is; never changes.
    _map_bytes: how far the file may grow at most; never changes.
    _allocated: up to where the file has blocks, as far as this process has allocated or seen them;
        other processes may have allocated more.
    _scarce: the last look found little space, so every write looks from now on.
    _unchecked: how many writes were let pass since the last look.
    _allocate: the system's fallocate; None where there is none.
    """

    def __init__(self, file: Path, environment: lmdb.Environment) -> None:
        self._file = file
        self._environment = environment
        self._page_bytes: int = environment.stat()["psize"]
        # Not every file system goes by the limit when it allocates; when it writes, each does.
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        map_bytes: int = environment.info()["map_size"]
        self._map_bytes = map_bytes if limit == resource.RLIM_INFINITY else min(map_bytes, limit)
        self.bytes = min(RESERVE_BYTES, self._map_bytes // RESERVE_SHARE_MAX)
        self._allocate = _fallocate
        self._allocated = 0
        self._scarce = False
        self._unchecked = CHECKED_EVERY

    def admits(self, transaction: HasSize, leaving: float) -> bool:
        """Tell whether a write may go on that is to leave a share of the reserve."""
        self._unchecked += 1
        if self._unchecked < CHECKED_EVERY and not self._scarce:
            return True
        self._unchecked = 0
        end = (self._environment.info()["last_pgno"] + 1) * self._page_bytes
        if self._limit() - end >= self.bytes:
            self._scarce = False
            return True
        # What was freed inside the file counts as well.
        room = self._limit() - transaction.bytes_used()
        if room < (self.bytes if self._scarce else AMPLE * self.bytes):
            self._allocate_beyond(end)
            room = self._limit() - transaction.bytes_used()
        self._scarce = self._limit() - end < self.bytes and room < AMPLE * self.bytes
        return room >= leaving * self.bytes

    def _limit(self) -> int:
        """Return how far the file can be written to, whoever else fills the disk."""
        return self._map_bytes if _fallocate is None else min(self._allocated, self._map_bytes)

    def _allocate_beyond(self, end: int) -> None:
        if _fallocate is None:
            return
        step = min(max(_STEP_BYTES, end // _STEP_SHARE), _STEP_BYTES_MAX)
        try:
            # LMDB has no lock on this file that closing a descriptor of it would give up.
            descriptor = os.open(self._file, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            # Of all that can fail here, the write itself will tell.
            self._allocated = end + self.bytes + step
            return
        try:
            # Some file systems allocate nothing of what does not fit as a whole.
            for count in (self.bytes + step, self.bytes):
                wanted = min(end + count, self._map_bytes)
                while (error := _fallocate(descriptor, end, wanted - end)) == errno.EINTR:
                    pass
                if error not in _NO_SPACE:
                    # Another error: the file system knows no such thing, and tells nothing.
                    self._allocated = self._map_bytes if error else wanted
                    return
            self._allocated = max(os.fstat(descriptor).st_blocks * _BLOCK_BYTES, end)
        finally:
            os.close(descriptor)


_fallocate = find_fallocate()

__all__ = ["RESERVE_BYTES", "DiskReserve"]
