"""Gives OpenSSL, which reads keys from files only, a path that leads to no disk."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def private_file(content: bytes) -> Iterator[str]:
    """Give the content a path in this process, for as long as the block lasts.

    The content stays in memory where the system can, because a container may have no writable
    directory and a key should not touch a disk.
    """
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        descriptor = os.memfd_create("clustersession-key", os.MFD_CLOEXEC)
        with open(descriptor, "wb", buffering=0) as memory:
            memory.write(content)
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name
