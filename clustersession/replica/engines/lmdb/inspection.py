"""Finds a damaged LMDB file, because LMDB would kill the process that finds out.

A page beyond the end of the file is a SIGBUS, one that is not what its parent says often an
assertion of LMDB and an abort. So before a replica that nobody uses is opened, the pages of its
trees are looked at here: each must be there and name itself. What stands in them is not judged.
"""

import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from struct import Struct, error

_MAGIC = 0xBEEFC0DE
_FORMAT = 1
_READABLE_HERE = sys.byteorder == "little" and sys.maxsize > 2**32
_BRANCH, _LEAF = 1, 2
_HEADER_BYTES = 16
_PAGE_BYTES_MAX = 2**16
HEAD_BYTES = 2**13
"""Holds the two pages that say where everything is, where pages have 4 KiB."""
_NO_ROOT = 2**64 - 1
_HOLDS_TREE = 2
_META = Struct("<16xII16xI36xQ40xQQQ")
_LAST = Struct("<136xQ")
_PAGE = Struct("<Q2xHHH")
_NODE = Struct("<HHHH")
_ROOT = Struct("<40xQ")


def is_whole(path: Path) -> bool:
    """Tell whether every page of every tree is there and is what its parent says.

    Nobody may write meanwhile. Of a format that we do not know, LMDB itself is the judge.
    """
    if not _READABLE_HERE:
        return True
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            magic, version, page_bytes, *_ = _META.unpack_from(data)
            if magic == _MAGIC and version != _FORMAT:
                return True
            metas = (_META.unpack_from(data), _META.unpack_from(data, page_bytes))
            _, _, _, free, main, last, _ = max(metas, key=lambda meta: meta[-1])
            if any(meta[0] != _MAGIC for meta in metas) or len(data) < (last + 1) * page_bytes:
                return False
            named = [_ROOT.unpack_from(data, at)[0] for at in _named(data, page_bytes, main)]
            for root in (free, *named):
                for _leaf in _leaves(data, page_bytes, root):
                    pass
    except (error, ValueError, OverflowError):
        return False
    return True


def end_of(path: Path) -> int | None:
    """Return how many bytes of a file are in use, 0 without one; None where that is not known."""
    try:
        with path.open("rb") as file:
            head = file.read(2 * _PAGE_BYTES_MAX)
    except FileNotFoundError:
        return 0
    if not head:
        return 0
    try:
        magic, version, page_bytes, *_ = _META.unpack_from(head)
        if not _READABLE_HERE or magic != _MAGIC or version != _FORMAT:
            return None
        return end_in(head, page_bytes)
    except error:
        return None


def end_in(head: "bytes | mmap.mmap", page_bytes: int) -> int:
    """Return how many bytes of a file are in use that begins so. Raises struct.error."""
    last: int = _LAST.unpack_from(head)[0]
    other: int = _LAST.unpack_from(head, page_bytes)[0]
    # What is used never becomes less, and one of the two may be just being written.
    return ((last if last > other else other) + 1) * page_bytes


def _named(data: mmap.mmap, page_bytes: int, main: int) -> Iterator[int]:
    """Yield where the trees that have names are described: in the leaves of the main one."""
    for leaf in _leaves(data, page_bytes, main):
        for at in _nodes(data, leaf):
            _, _, flags, key_bytes = _NODE.unpack_from(data, at)
            if flags & _HOLDS_TREE:
                yield at + _NODE.size + key_bytes


def _leaves(data: mmap.mmap, page_bytes: int, root: int) -> Iterator[int]:
    """Yield where the leaves of a tree are. Raises ValueError for a page that is something else."""
    pages = [] if root == _NO_ROOT else [root]
    pages_max = len(data) // page_bytes
    while pages:
        number = pages.pop()
        at = number * page_bytes
        own, kind, lower, upper = _PAGE.unpack_from(data, at)
        pages_max -= 1
        if own != number or pages_max < 0 or not _HEADER_BYTES <= lower <= upper <= page_bytes:
            raise ValueError(f"page {number} is not what it should be")
        if kind == _LEAF:
            yield at
        elif kind == _BRANCH:
            nodes = (_NODE.unpack_from(data, node) for node in _nodes(data, at))
            pages += [low | middle << 16 | high << 32 for low, middle, high, _ in nodes]
        else:
            raise ValueError(f"page {number} belongs to no tree")


def _nodes(data: mmap.mmap, at: int) -> list[int]:
    lower = _PAGE.unpack_from(data, at)[2]
    offsets = Struct(f"<{(lower - _HEADER_BYTES) // 2}H")
    return [at + offset for offset in offsets.unpack_from(data, at + _HEADER_BYTES)]
