"""Notes what a process has brought to the disk, so that a power cut can take away the rest.

Python imports it in each process that has this directory in PYTHONPATH; the product knows nothing
of it.
"""

import os

_notes = os.environ.get("POWER_NOTES")
if _notes is not None:
    _real = os.fdatasync
    _file = os.open(f"{_notes}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _fdatasync(descriptor: int) -> None:
        # What is appended while it runs may not be there.
        before = os.fstat(descriptor)
        _real(descriptor)
        os.write(_file, b"%d %d\n" % (before.st_ino, before.st_size))

    os.fdatasync = _fdatasync
