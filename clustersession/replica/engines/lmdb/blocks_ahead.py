"""Has blocks for all that a process may write to through its map: a full disk stays an error.

LMDB opened with ``writemap`` writes into its map of the file, which spares a system call for each
run of pages and copying them. A page that has no block on a full disk is then a SIGBUS, which kills
the process, where ``write`` returns an error. So before a transaction touches pages their blocks
are there: those of the file so far, holes included, and as many beyond its end as the transaction
can take at most. Where blocks are not to be had the transaction is refused.

Only on file systems where a page that has a block can always be written to. Those that write
elsewhere what is written again, as btrfs, ZFS and an XFS file that shares its blocks with a copy,
need free space for each write, whatever was allocated.
"""

import errno
import mmap
import os
import resource
from pathlib import Path

from clustersession.replica.engines.lmdb.allocation import find_fallocate
from clustersession.replica.engines.lmdb.directory import file_system_of
from clustersession.replica.engines.lmdb.inspection import HEAD_BYTES, end_in, end_of

FILE_SYSTEMS = frozenset({"ext4", "tmpfs"})
"""Where blocks that are allocated need nothing more to be written to."""

PAGE_BYTES = 4096
CHANGE_BYTES = 10 * PAGE_BYTES
"""What one change of one table takes beyond its value: the pages from the root to the leaf, which
are copied, and one more at each level when they are split. A tree of a million sessions has four
levels."""

SPLIT_BYTES = 3 * PAGE_BYTES
"""What one of many changes takes beyond copies of pages: new ones, where old ones are full."""

PAGES_LISTED = 512
"""As many free pages LMDB lists on one page."""

COMMIT_BYTES = 2**18
"""What LMDB takes by itself in a commit: its list of free pages, and the tables' places."""

AHEAD_BYTES = 2**21
"""What must be there when a transaction begins: for some fifty changes, and those of more ask for
more while they run."""

UNBOUNDED = 2**62
_STEP_SHARE = 64
_STEP_BYTES_MAX = 2**24


class BlocksAhead:
    """Keeps account of the blocks of one file. To be asked within a writing transaction.

    Attributes:
        scarce: blocks were asked for and not to be had; stays so.
        _map_bytes: where the map ends; what is beyond is LMDB's own error. Never changes.
        _allocated: up to where this process has seen to it that every page has its block.
        _head: the file's first pages, where LMDB says how far it is used; None before ``watch``.
            To ask LMDB takes three times as long.
    """

    def __init__(self, file: Path, map_bytes: int) -> None:
        self._file = file
        self._map_bytes = map_bytes
        self._allocated = 0
        self.scarce = False
        self._head: mmap.mmap | None = None

    def watch(self) -> None:
        """Begin to look how far the file is used, which exists now."""
        with self._file.open("rb") as file:
            self._head = mmap.mmap(file.fileno(), HEAD_BYTES, access=mmap.ACCESS_READ)

    def end(self) -> int:
        """Return how far the file is used."""
        assert self._head is not None
        return end_in(self._head, PAGE_BYTES)

    def close(self) -> None:
        """Look no more; safe to call twice."""
        if self._head is not None:
            self._head.close()

    def room_after(self, end: int, wanted: int = AHEAD_BYTES) -> int:
        """Return how many bytes a transaction may take that finds the file used up to ``end``.

        Fewer than ``wanted`` if no more are to be had.
        """
        if self._room_after(end) < wanted:
            self._extend(end + COMMIT_BYTES + wanted, end)
            self.scarce |= self._room_after(end) < wanted
        return self._room_after(end)

    def _room_after(self, end: int) -> int:
        if self._allocated >= self._map_bytes:
            return UNBOUNDED
        return self._allocated - end - COMMIT_BYTES

    def _extend(self, upto: int, end: int) -> None:
        step = min(max(AHEAD_BYTES, end // _STEP_SHARE), _STEP_BYTES_MAX)
        for more in (step, 0):
            wanted = min(upto + more, self._map_bytes)
            if wanted <= self._allocated or self._allocate(wanted) == 0:
                return

    def _allocate(self, upto: int) -> int:
        """Allocate from where it was done last, because what lies between may have holes."""
        if _fallocate is None:
            return errno.ENOSYS
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._file, flags, 0o600)
        except OSError as error:
            return error.errno or errno.EIO
        count = upto - self._allocated
        try:
            while (number := _fallocate(descriptor, self._allocated, count)) == errno.EINTR:
                pass
        finally:
            os.close(descriptor)
        if number == 0:
            self._allocated = upto
        return number


def blocks_ahead(file: Path, map_bytes: int) -> BlocksAhead | None:
    """Allocate what is needed to write through the map; None where that cannot be promised.

    To be called while no other process opens the replica.
    """
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    # LMDB makes the file as long as the map, though without blocks.
    if limit != resource.RLIM_INFINITY and limit < map_bytes:
        return None
    if os.sysconf("SC_PAGE_SIZE") != PAGE_BYTES:
        return None
    try:
        mounts = Path("/proc/self/mountinfo").read_text()
        end = end_of(file)
    except OSError:
        return None
    if end is None or file_system_of(str(file.parent), mounts) not in FILE_SYSTEMS:
        return None
    ahead = BlocksAhead(file, map_bytes)
    # More than at other times, for what others write until the first transaction of this process.
    ahead.room_after(end, 2 * AHEAD_BYTES)
    return None if ahead.scarce else ahead


_fallocate = find_fallocate()
