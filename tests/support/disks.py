"""Small file systems, which can be full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.processes import find_program, require, require_programs, require_root


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    """A file system of a size, such as ``8m``, on a directory that exists."""
    require_programs("mount")
    require_root("mounting")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "clustersession", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    require("" if done.returncode == 0 else f"the right to mount ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def small_ext4(path: Path, size: str) -> Iterator[None]:
    """As ``small_disk``, of the kind that most hosts have, in a file beside the directory."""
    require_programs("mount", "mkfs.ext4")
    require_root("mounting")
    image = path.with_name(f"{path.name}.image")
    subprocess.run(["truncate", "-s", size, str(image)], check=True)
    make = [str(find_program("mkfs.ext4")), "-q", "-F", "-m", "0", "-O", "^has_journal", str(image)]
    subprocess.run(make, check=True)
    command = ["mount", "-o", "loop", str(image), str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        # Not every kernel has loop devices, whoever asks.
        pytest.skip(f"no loop device here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(file: Path) -> None:
    """Leave no free block where the file is."""
    with file.open("wb", buffering=0) as writing:
        for block in (bytes(1 << 16), bytes(512)):
            with suppress(OSError):
                while writing.write(block):
                    pass
