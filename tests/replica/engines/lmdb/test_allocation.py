"""Blocks are allocated, and the file stays as long as it was."""

import errno
import os
from pathlib import Path

import pytest

from clustersession.replica.engines.lmdb.allocation import find_fallocate
from tests.support.disks import small_disk


def test_blocks_are_there_and_the_size_stays(tmp_path: Path) -> None:
    allocate = find_fallocate()
    if allocate is None:
        pytest.skip("not on this system")
    with small_disk(tmp_path, "4m"), (tmp_path / "file").open("wb") as file:
        assert allocate(file.fileno(), 0, 2**20) == 0
        found = os.fstat(file.fileno())
        assert (found.st_size, found.st_blocks * 512) == (0, 2**20)
        assert allocate(file.fileno(), 2**20, 2**23) == errno.ENOSPC
        assert os.fstat(file.fileno()).st_blocks * 512 == 2**20
