"""Shifts the wall clock of a process by what a file says, now and whenever it changes.

Python imports this at its start in every process that has the directory in PYTHONPATH. Linux has
no namespace for the wall clock, so stepping the clock of one node takes this. Only ``time.time``
and ``time.time_ns`` are shifted: the product and its log lines read nothing else.
"""

import mmap
import os
import struct
import time

SIZE = 8


def _shift(path):
    with open(path, "rb") as file:
        # Mapped for good: reading the clock must cost no system call.
        offset = mmap.mmap(file.fileno(), SIZE, prot=mmap.PROT_READ)
    real_ns = time.time_ns

    def time_ns():
        return real_ns() + struct.unpack("<q", offset[:SIZE])[0]

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


if os.environ.get("TEST_CLOCK_OFFSET_FILE"):
    _shift(os.environ["TEST_CLOCK_OFFSET_FILE"])
