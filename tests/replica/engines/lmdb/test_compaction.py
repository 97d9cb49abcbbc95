"""A file that is mostly free is written anew when nobody has it open, and is whole at any time."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import lmdb
import pytest

from clustersession.core.state import Change
from clustersession.replica.engines.lmdb import compaction
from clustersession.replica.engines.lmdb.compaction import compact
from clustersession.replica.engines.lmdb.directory import is_trustworthy
from clustersession.replica.engines.lmdb.inspection import end_of, is_whole
from clustersession.replica.opening import LmdbReplica, open_lmdb
from tests.replica.on_disk import opened
from tests.replica.replica_checks import (
    NODE_A,
    NODE_B,
    SKEW_MS,
    WALL_MS,
    check,
    creation,
    key_of,
)

BOOT = "boot"
KEPT = 10
LARGE = b"x" * 20_000


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a replica is that once held far more than it does."""
    monkeypatch.setattr(compaction, "FREE_BYTES_MIN", 2**17)
    path = tmp_path / "r"
    replica = opened(path)
    fill(replica)
    replica.close()
    yield path
    assert not path.with_name("r.compacting").exists()


def fill(replica: LmdbReplica) -> None:
    for number in range(60):
        replica.commit([creation(number, {"a": LARGE})], WALL_MS)
    replica.evict([
        (key_of(n), state) for n in range(KEPT, 60)
        if (state := replica.get(key_of(n))) is not None
    ])


def size(path: Path) -> int:
    found = end_of(path / "data.mdb")
    assert found is not None
    return found


def held(path: Path) -> list[bytes | None]:
    replica = opened(path, node=NODE_B)
    assert replica.node == NODE_A
    check(replica)
    found = [
        None if state is None else state.registers["a"].value
        for state in (replica.get(key_of(n)) for n in range(60))
    ]
    replica.close()
    return found


EXPECTED = [LARGE] * KEPT + [None] * (60 - KEPT)


def test_the_first_who_opens_it_writes_it_anew(path: Path) -> None:
    before = size(path)
    assert held(path) == EXPECTED
    assert size(path) < before / 2
    assert (path / "data.mdb").stat().st_mode & 0o777 == 0o600


def test_what_is_written_afterwards_is_there(path: Path) -> None:
    replica = opened(path)
    replica.commit([Change(key_of(1), WALL_MS, {"a": b"new"})], WALL_MS)
    replica.close()
    assert held(path)[1] == b"new"


def test_a_worker_that_writes_through_its_map_goes_on_with_it(path: Path) -> None:
    replica = open_lmdb(
        path, new_node=lambda: NODE_B, map_bytes=2**28, clock_skew_ms_max=SKEW_MS, boot_id=BOOT,
        mapped=True,
    )
    fill(replica)
    check(replica)
    replica.close()
    assert held(path) == EXPECTED


def test_it_is_done_once(path: Path) -> None:
    assert compact(path, BOOT) > 0
    assert compact(path, BOOT) == 0


def test_a_file_that_others_have_open_is_left(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.replica.on_disk import opened\n"
        "from clustersession.replica.engines.lmdb import compaction\n"
        "compaction.FREE_BYTES_MIN = 2**40\n"
        f"replica = opened(Path({str(path)!r})); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        before = os.stat(path / "data.mdb").st_ino
        assert held(path) == EXPECTED
        assert os.stat(path / "data.mdb").st_ino == before
        other.communicate()


def test_after_a_power_cut_it_is_not_trusted(path: Path) -> None:
    replica = opened(path, map_bytes=2**28)
    fill(replica)
    assert replica.mark_clean()
    assert is_trustworthy(path, "the next boot")
    assert compact(path, BOOT)
    assert is_trustworthy(path, BOOT)
    assert not is_trustworthy(path, "the next boot")


def test_little_is_not_worth_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "FREE_BYTES_MIN", 2**30)
    before = size(path)
    assert held(path) == EXPECTED
    assert size(path) >= before


def test_a_copy_that_does_not_fit_leaves_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (path / "data.mdb").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda at: _Usage(2**40, 2**40, 1000))
        assert compact(path, BOOT) == 0
    assert (path / "data.mdb").read_bytes() == before


def test_a_copy_that_fails_leaves_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(file: Path, target: Path) -> None:
        raise OSError(28, "no space left")

    before = (path / "data.mdb").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", failing)
        assert compact(path, BOOT) == 0
    assert (path / "data.mdb").read_bytes() == before


@pytest.mark.parametrize("after_ms", [0, 2, 5, 10, 20, 40])
def test_a_kill_at_any_moment_leaves_one_whole_file(path: Path, after_ms: int) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from clustersession.replica.engines.lmdb import compaction\n"
        "compaction.FREE_BYTES_MIN = 2**17\n"
        f"print('now', flush=True); compaction.compact(Path({str(path)!r}), {BOOT!r})\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as doomed:
        assert doomed.stdout is not None
        doomed.stdout.readline()
        try:
            doomed.wait(after_ms / 1000)
        except subprocess.TimeoutExpired:
            doomed.send_signal(signal.SIGKILL)
    assert is_whole(path / "data.mdb")
    assert held(path) == EXPECTED
    with lmdb.open(os.fspath(path), readonly=True, lock=False) as environment:
        assert environment.stat()["entries"] > 0
