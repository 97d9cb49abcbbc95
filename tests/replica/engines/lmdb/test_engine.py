"""What processes do to one environment at once: forks, kills, full disks."""

import os
import resource
import signal
from pathlib import Path

import pytest

from clustersession.core.errors import ReplicaFull, ReplicaUnusable
from clustersession.core.state import SessionState
from clustersession.replica.opening import LmdbReplica
from tests.replica.on_disk import finish, opened, start
from tests.replica.replica_checks import WALL_MS, check, creation, key_of, write


def test_opening_twice_in_one_process_is_refused(tmp_path: Path) -> None:
    first = opened(tmp_path / "r")
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path / "r", tmp_path / "link" / "r"):
        with pytest.raises(ReplicaUnusable, match="already open"):
            opened(path)
    first.commit([creation(1)], WALL_MS)
    first.close()
    opened(tmp_path / "r").close()


def test_a_full_map_changes_nothing_and_room_is_found_again(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r", map_bytes=2**20)
    replica.commit([creation(0)], WALL_MS)
    committed = 0

    def fill() -> None:
        nonlocal committed
        for number in range(1, 1000):
            replica.commit([creation(number, {"v": bytes(4000)})], WALL_MS)
            committed = number

    with pytest.raises(ReplicaFull):
        fill()
    assert committed > 20
    check(replica)
    assert (replica.head(), replica.get(key_of(committed + 1))) == (committed + 1, None)
    with pytest.raises(ReplicaFull):
        replica.merge([(key_of(n), replica_copy(replica)) for n in range(2000, 3000)], WALL_MS)
    check(replica)
    used, limit = replica.stats().bytes_used, replica.stats().bytes_max
    assert 0 < used <= limit == 2**20
    assert replica.sweep(WALL_MS + 10**10, 10) == 10
    assert replica.commit([creation(5000)], WALL_MS).effective
    check(replica)
    replica.close()


@pytest.mark.parametrize("room", [0, 2000, 6000])
def test_a_disk_that_fills_up_in_the_middle_of_a_commit_is_full(
    tmp_path: Path, room: int
) -> None:
    replica = opened(tmp_path / "r")
    replica.commit([creation(0)], WALL_MS)
    size = (tmp_path / "r" / "data.mdb").stat().st_size
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
    try:
        with pytest.raises(ReplicaFull):
            replica.commit([creation(1, {"v": bytes(20_000)})], WALL_MS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert replica.commit([creation(2, {"v": bytes(20_000)})], WALL_MS).effective
    check(replica)
    replica.close()


def replica_copy(replica: LmdbReplica) -> SessionState:
    state = replica.get(key_of(1))
    assert state is not None
    return state


def test_two_processes_commit_at_once(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r")
    replica.commit([creation(n) for n in range(5)], WALL_MS)
    writers = [start("commits", tmp_path / "r", name, 1500) for name in ("left", "right")]
    for number in range(500):
        replica.commit([write(number % 5, middle=b"%d" % number)], WALL_MS)
    for writer in writers:
        finish(writer)
    assert replica.head() == 5 + 1500 + 1500 + 500
    for number in range(5):
        state = replica.get(key_of(number))
        assert state is not None
        assert state.registers["left"].value == state.registers["right"].value
        assert state.registers["left"].value == b"%d" % (1495 + number)
        assert state.registers["middle"].value == b"%d" % (495 + number)
    check(replica)
    replica.close()


def test_a_writer_killed_anywhere_leaves_a_whole_replica(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r")
    head = 0
    for round_ in range(6):
        writer = start("commits_for_ever", tmp_path / "r")
        assert writer.stdout is not None
        for _ in range(2 + 3 * round_):
            assert writer.stdout.readline().strip().isdigit()
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate(timeout=10)
        replica.commit([creation(10**6 + round_)], WALL_MS)
        check(replica)
        assert replica.head() > head
        head = replica.head()
    replica.reader_check()
    replica.close()


@pytest.mark.parametrize("what", ["forks", "forks_while_busy"])
def test_the_child_of_a_fork_opens_its_own(tmp_path: Path, what: str) -> None:
    finish(start(what, tmp_path / "r"))


def test_readers_killed_do_not_use_up_the_slots(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r")
    replica.commit([creation(1)], WALL_MS)
    for _ in range(3):
        reader = start("reads_for_ever", tmp_path / "r")
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        os.kill(reader.pid, signal.SIGKILL)
        reader.communicate(timeout=10)
        assert replica.reader_check() == 1
    replica.close()
