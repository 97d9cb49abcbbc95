"""A damaged file is noticed before it kills the process, and no healthy one is taken for it."""

import os
import random
from pathlib import Path

import pytest

from clustersession.replica.engines.lmdb.inspection import is_whole
from clustersession.replica.opening import LmdbReplica, open_lmdb
from tests.replica.replica_checks import NODE_A, NODE_B, SKEW_MS, WALL_MS, check, creation, write

PAGE_BYTES = 4096
SESSIONS = 300


def opened(path: Path, node: bytes) -> LmdbReplica:
    return open_lmdb(
        path, new_node=lambda: node, map_bytes=2**28, clock_skew_ms_max=SKEW_MS, boot_id="boot"
    )


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    """The file of a replica whose processes were killed."""
    replica = opened(tmp_path / "r", NODE_A)
    for number in range(SESSIONS):
        replica.commit([creation(number, {"v": bytes(300)})], WALL_MS)
    replica.close()
    return tmp_path / "r" / "data.mdb"


def test_a_file_that_grows_and_shrinks_is_always_whole(tmp_path: Path) -> None:
    chance = random.Random(1)
    replica = opened(tmp_path / "r", NODE_A)
    path = tmp_path / "r" / "data.mdb"
    assert is_whole(path)
    for number in range(400):
        size = chance.choice((1, 300, 3000, 30_000))
        replica.commit([creation(number, {"v": bytes(size)})], WALL_MS)
        replica.commit([write(chance.randrange(number + 1), w=bytes(size))], WALL_MS)
        if number % 50 == 49:
            replica.sweep(WALL_MS + 10**10, 30)
        assert is_whole(path)
    replica.close()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_set_aside(data_file: Path, share: float) -> None:
    size = data_file.stat().st_size
    os.truncate(data_file, int(size * share) // PAGE_BYTES * PAGE_BYTES)
    # Without this, opening would kill the tests.
    assert not is_whole(data_file)
    replica = opened(data_file.parent, NODE_B)
    assert replica.set_aside is not None
    assert (replica.node, replica.stats().sessions) == (NODE_B, 0)
    replica.close()


@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"x"])
def test_a_page_of_a_tree_that_was_overwritten_is_noticed(data_file: Path, filling: bytes) -> None:
    healthy = data_file.read_bytes()
    noticed = 0
    for start in range(0, len(healthy), PAGE_BYTES):
        page = filling * PAGE_BYTES
        data_file.write_bytes(healthy[:start] + page + healthy[start + PAGE_BYTES :])
        noticed += not is_whole(data_file)
    # The others are free, or hold nothing but a value.
    assert noticed > len(healthy) // PAGE_BYTES / 2


def test_a_damaged_file_is_set_aside_and_a_healthy_one_is_not(data_file: Path) -> None:
    replica = opened(data_file.parent, NODE_B)
    assert (replica.set_aside, replica.stats().sessions) == (None, SESSIONS)
    replica.close()
    content = data_file.read_bytes()
    data_file.write_bytes(content[: 2 * PAGE_BYTES] + bytes(len(content) - 2 * PAGE_BYTES))
    replica = opened(data_file.parent, NODE_B)
    assert replica.set_aside is not None
    replica.commit([creation(1)], WALL_MS)
    check(replica)
    replica.close()


def test_a_format_that_we_do_not_know_is_left_to_lmdb(data_file: Path) -> None:
    with data_file.open("r+b") as file:
        file.seek(20)
        assert file.read(4) == (1).to_bytes(4, "little")
        file.seek(20)
        file.write((2).to_bytes(4, "little"))
        file.truncate(3 * PAGE_BYTES)
    assert is_whole(data_file)
