"""Notes what a process has brought to the disk, so that a power cut can take away the rest.

A line when a sync begins: its time, and another one when it is over, with the file and its size.
Python imports it in each process that has this directory in PYTHONPATH; the product knows nothing
of it.
"""

import os
import time

_notes = os.environ.get("POWER_NOTES")
if _notes is not None:
    _real, _real_whole = os.fdatasync, os.fsync
    _file = os.open(f"{_notes}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _fdatasync(descriptor: int) -> None:
        # What is appended while it runs may not be there.
        before = os.fstat(descriptor)
        began_s = _began()
        _real(descriptor)
        _note(b"%d %d %f %f\n" % (before.st_ino, before.st_size, began_s, time.monotonic()))

    def _fsync(descriptor: int) -> None:
        began_s = _began()
        _real_whole(descriptor)
        _note(b"0 0 %f %f\n" % (began_s, time.monotonic()))

    def _began() -> float:
        began_s = time.monotonic()
        _note(b"%f\n" % began_s)
        return began_s

    def _note(line: bytes) -> None:
        os.write(_file, line)

    os.fdatasync, os.fsync = _fdatasync, _fsync
