"""Writing through the map: a full disk stays an error, and a killed writer harms nobody."""

import os
import random
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession.core.errors import ReplicaFull
from clustersession.core.revocation import revoke
from clustersession.replica import tables
from clustersession.replica.engines.lmdb import blocks_ahead as blocks
from clustersession.replica.engines.lmdb.inspection import is_whole
from clustersession.replica.opening import LmdbReplica
from tests.replica.engines.lmdb.filling import filled, opened
from tests.replica.on_disk import start
from tests.replica.replica_checks import WALL_MS, check, creation, end, key_of, write
from tests.support.disks import fill, small_disk, small_ext4

MAP_BYTES = 2**34
KILLS = 6
PIECE_BYTES = 2**17


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    make = small_disk if request.param == "tmpfs" else small_ext4
    with make(path, "24m"):
        yield path


def is_mapped(replica: LmdbReplica) -> bool:
    return replica._lmdb.is_mapped


def finish(process: "subprocess.Popen[str]") -> None:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, (process.returncode, output)


def test_a_full_disk_is_an_error(disk: Path) -> None:
    finish(start("fills_through_the_map", disk))


def test_without_blocks_it_would_be_a_signal(disk: Path) -> None:
    # What the test above relies on, and why all this is done.
    process = start("fills_through_the_map", disk, "carelessly")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGBUS


def punch_free_pages(file: Path, end_bytes: int) -> None:
    """Take the blocks from what no tree needs, in pieces."""
    for start_bytes in range(PIECE_BYTES, end_bytes - PIECE_BYTES, PIECE_BYTES):
        with file.open("r+b") as writing:
            writing.seek(start_bytes)
            before = writing.read(PIECE_BYTES)
        place = ["-o", str(start_bytes), "-l", str(PIECE_BYTES)]
        subprocess.run(["fallocate", "--punch-hole", *place, str(file)], check=True)
        if not is_whole(file):
            with file.open("r+b") as writing:
                writing.seek(start_bytes)
                writing.write(before)


def test_holes_that_others_left_are_filled_first(disk: Path) -> None:
    agent = opened(disk / "r", MAP_BYTES)
    for number in range(300):
        agent.commit([creation(number, {"v": bytes(9000)})], WALL_MS)
    agent.sweep(WALL_MS + 10**10, 1000)
    agent.close()
    file = disk / "r" / "data.mdb"
    end_bytes = file.stat().st_size
    # As after pages that were taken and given back within one transaction, and never written.
    punch_free_pages(file, end_bytes)
    assert file.stat().st_blocks * 512 < end_bytes
    replica = opened(disk / "r", MAP_BYTES, mapped=True)
    assert replica.set_aside is None
    ahead = replica._lmdb._ahead
    assert ahead is not None
    assert file.stat().st_blocks * 512 >= ahead._allocated > end_bytes
    replica.close()


def test_batches_of_another_process_are_followed(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r", MAP_BYTES, mapped=True)
    if not is_mapped(replica):
        pytest.skip("the temporary directory is not on such a file system")
    writer = start("commits_large", tmp_path / "r", MAP_BYTES)
    finish(writer)
    replica.commit([creation(10**6)], WALL_MS)
    ahead = replica._lmdb._ahead
    assert ahead is not None
    assert ahead._allocated >= ahead.end() + blocks.COMMIT_BYTES
    assert (tmp_path / "r" / "data.mdb").stat().st_blocks * 512 >= ahead._allocated
    check(replica)
    replica.close()


def test_where_blocks_cannot_be_had_nothing_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_fallocate", lambda *_: 95)
    replica = opened(tmp_path / "r", MAP_BYTES, mapped=True)
    assert not is_mapped(replica)
    replica.commit([creation(1)], WALL_MS)
    check(replica)
    replica.close()


def test_on_another_file_system_nothing_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "file_system_of", lambda *_: "btrfs")
    replica = opened(tmp_path / "r", MAP_BYTES, mapped=True)
    assert not is_mapped(replica)
    replica.close()


def test_a_limit_of_the_size_of_files_is_kept_to(tmp_path: Path) -> None:
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, hard))
    try:
        replica = opened(tmp_path / "r", MAP_BYTES, mapped=True)
        assert not is_mapped(replica)
        replica.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def test_a_small_map_is_full_as_before(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r", 2**20, mapped=True)
    if not is_mapped(replica):
        pytest.skip("the temporary directory is not on such a file system")
    count = filled(replica)
    assert is_mapped(replica)
    for number in range(count):
        assert replica.commit([end(number)], WALL_MS).effective
    check(replica)
    replica.close()


def test_a_disk_that_fills_up_ends_the_mapping_and_loses_nothing(disk: Path) -> None:
    replica = opened(disk / "r", MAP_BYTES, mapped=True)
    for number in range(500):
        replica.commit([creation(number, {"v": bytes(500), "\x00principal": b"ann"})], WALL_MS)
    assert is_mapped(replica)
    fill(disk / "filling")
    # More than there is room for at once: the first of its kind is begun again, by itself.
    replica.commit([revoke("ann", key_of(0), WALL_MS + 1, 10**9)], WALL_MS + 1)
    while replica.end_revoked() is not None:
        pass
    count = filled(replica, 1000)
    assert not is_mapped(replica)
    for number in range(1000, count):
        assert replica.commit([end(number)], WALL_MS).effective
    check(replica)
    replica.close()


def test_readers_of_other_threads_live_through_the_end_of_the_mapping(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r", MAP_BYTES, mapped=True)
    if not is_mapped(replica):
        pytest.skip("the temporary directory is not on such a file system")
    replica.commit([creation(1, {"a": b"1"})], WALL_MS)
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                assert replica.get(key_of(1)) is not None
                replica.stats()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    engine = replica._lmdb
    deadline = time.monotonic() + 20
    for number in range(20):
        assert engine.stop_mapping()
        # As if it had never been stopped: what matters is that the environment is another one.
        engine._ahead = blocks.BlocksAhead(tmp_path / "r" / "data.mdb", MAP_BYTES)
        engine._ahead.watch()
        replica.commit([write(1, a=b"%d" % number)], WALL_MS)
        assert time.monotonic() < deadline
    done.set()
    for thread in threads:
        thread.join(10)
    assert not failures
    check(replica)
    replica.close()


def test_a_transaction_that_stays_keeps_the_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clustersession.replica.engines.lmdb import engine as engine_module

    monkeypatch.setattr(engine_module, "UNMAP_WAIT_S", 0.01)
    replica = opened(tmp_path / "r", MAP_BYTES, mapped=True)
    if not is_mapped(replica):
        pytest.skip("the temporary directory is not on such a file system")
    with replica._engine.read() as reading:
        assert not replica._lmdb.stop_mapping()
        replica._lmdb._ahead.scarce = True  # type: ignore[union-attr]
        with pytest.raises(ReplicaFull):
            replica.commit([creation(1)], WALL_MS)
        assert reading.count(tables.SESSIONS) == 0
    assert replica.commit([creation(1)], WALL_MS).effective
    assert not is_mapped(replica)
    replica.close()


def test_writers_killed_anywhere_leave_tables_that_agree(tmp_path: Path) -> None:
    """Two at once through the map, beside one that does not; CLUSTERSESSION_KILLS for more."""
    chance = random.Random(1)
    replica = opened(tmp_path / "r", 2**28)
    replica.commit([creation(n) for n in range(7)], WALL_MS)
    head = 0
    for _ in range(int(os.environ.get("CLUSTERSESSION_KILLS", "") or KILLS)):
        writers = [start("maps_for_ever", tmp_path / "r", 2**28) for _ in range(2)]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline().strip().isdigit()
        replica.commit([write(chance.randrange(7), y=b"z")], WALL_MS)
        deadline = time.monotonic() + 20
        for writer in writers:
            # Somewhere within the next commits, whose number is a clock that waits for nobody.
            until = replica.head() + chance.randrange(40)
            while replica.head() < until:
                assert time.monotonic() < deadline
            os.kill(writer.pid, signal.SIGKILL)
        for writer in writers:
            writer.communicate(timeout=10)
        check(replica)
        assert replica.head() > head
        head = replica.head()
    print("commits", head)
    replica.close()
