"""Finds what allocates the blocks of a file before they are written to."""

import ctypes
import sys
from collections.abc import Callable

_KEEP_SIZE = 1

Allocate = Callable[[int, int, int], int]
"""Takes a descriptor, the first byte and how many; returns an error number, 0 for success."""


def find_fallocate() -> Allocate | None:
    """Find Linux's fallocate(2), which keeps the file's size and returns an error number.

    ``os.posix_fallocate`` moves the end of the file, and writes to it where it cannot allocate.
    """
    if sys.maxsize <= 2**32:
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    function.restype = ctypes.c_int

    def allocate(descriptor: int, start: int, count: int) -> int:
        return ctypes.get_errno() if function(descriptor, _KEEP_SIZE, start, count) else 0

    return allocate
