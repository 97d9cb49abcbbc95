"""On a full disk, and in a full map, sessions can still be ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession.core.errors import ReplicaFull
from clustersession.core.feed import START
from clustersession.core.revocation import revoke
from clustersession.core.state import Change
from clustersession.replica.engines.lmdb import disk_reserve as reserve
from clustersession.replica.opening import LmdbReplica, open_memory
from clustersession.replica.sweeping import sweep_in_parts
from tests.replica.engines.lmdb.filling import USER, filled, opened
from tests.replica.replica_checks import (
    IDLE_MS,
    NODE_B,
    SKEW_MS,
    WALL_MS,
    check,
    creation,
    end,
    key_of,
    write,
)
from tests.support.disks import fill, small_disk


@pytest.fixture(params=["map", "disk", "mapped, map", "mapped, disk"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[LmdbReplica, int]]:
    """A replica that takes no more sessions, and how many it has."""
    disk = tmp_path / "disk"
    disk.mkdir()
    kind, mapped = request.param.split()[-1], request.param.startswith("mapped")
    if kind == "map":
        replica = opened(disk / "r", 4 * 2**20, mapped=mapped)
        yield replica, filled(replica)
        replica.close()
        return
    with small_disk(disk, "16m"):
        replica = opened(disk / "r", 2**34, mapped=mapped)
        for number in range(20):
            replica.commit([creation(number, {"v": bytes(2000), **USER})], WALL_MS)
        fill(disk / "filling")
        yield replica, filled(replica, 20)
        replica.close()


def test_every_session_can_be_ended(full: tuple[LmdbReplica, int]) -> None:
    replica, count = full
    assert count > 20
    for number in range(count):
        assert replica.commit([end(number)], WALL_MS + number).effective
        # Whatever that has freed, others take it at once.
        filled(replica, 10**6 + replica.head())
    check(replica)
    for number in range(count):
        state = replica.get(key_of(number))
        assert state is not None
        assert state.ended is not None


def test_an_access_is_recorded_and_what_is_expired_is_removed(
    full: tuple[LmdbReplica, int],
) -> None:
    replica, count = full
    for round in range(3):
        for number in range(count):
            touch = Change(key_of(number), WALL_MS + 60_000 * (round + 1))
            assert replica.commit([touch], WALL_MS).effective
    with pytest.raises(ReplicaFull):
        replica.commit([write(0, more=bytes(100_000))], WALL_MS)
    late_ms = WALL_MS + 3 * 60_000 + 2 * IDLE_MS
    assert sweep_in_parts(replica, late_ms, count) == count
    assert filled(replica, 10**6) > 10**6 + count // 2
    check(replica)


def test_a_user_can_be_revoked(full: tuple[LmdbReplica, int]) -> None:
    replica, count = full
    renewed = Change(key_of(0), WALL_MS, dict(USER))
    replica.commit([revoke("ann", key_of(0), WALL_MS + 1, 10**9), renewed], WALL_MS + 1)
    ended = [n for n in range(count) if (s := replica.get(key_of(n))) and s.ended is not None]
    assert ended == list(range(1, count))
    check(replica)


def test_the_ends_in_a_batch_that_does_not_fit_are_taken(full: tuple[LmdbReplica, int]) -> None:
    replica, count = full
    peer = open_memory(NODE_B, clock_skew_ms_max=SKEW_MS)
    peer.merge(replica.snapshot("", 2**40).sessions, WALL_MS)
    peer.commit([end(0)], WALL_MS)
    peer.commit([creation(count, {"v": bytes(100_000)})], WALL_MS)
    peer.commit([end(count + 1), end(1)], WALL_MS)
    batch = peer.feed(0, 0, 2**30)
    seen: list[str] = []
    replica.observe(lambda changed: seen.extend(key for key, _, _ in changed))
    for number in (10**6, 2 * 10**6):
        filled(replica, number)
        with pytest.raises(ReplicaFull):
            replica.apply(batch, WALL_MS)
    assert sorted(seen) == [key_of(0), key_of(1)], "each is told once"
    states = [replica.get(key_of(number)) for number in (0, 1, 2)]
    assert [state.ended is not None for state in states if state] == [True, True, False]
    assert replica.cursors().get(NODE_B, START) == START, "it must come again"
    page = [(key_of(2), state) for state in [peer.get(key_of(0))] if state is not None]
    filled(replica, 3 * 10**6)
    with pytest.raises(ReplicaFull):
        replica.merge(page, WALL_MS)
    state = replica.get(key_of(2))
    assert state is not None
    assert state.ended is not None
    check(replica)


def test_room_again_is_noticed(tmp_path: Path) -> None:
    with small_disk(tmp_path, "16m"):
        replica = opened(tmp_path / "r", 2**34)
        fill(tmp_path / "filling")
        count = filled(replica)
        (tmp_path / "filling").unlink()
        for number in range(count, count + 1000):
            replica.commit([creation(number, {"v": bytes(2000)})], WALL_MS)
        check(replica)
        replica.close()


def test_a_file_system_without_such_a_thing_is_used_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve, "_fallocate", lambda *_: 95)
    replica = opened(tmp_path / "r", 8 * 2**20)
    assert filled(replica) > 1000
    for number in range(100):
        assert replica.commit([end(number)], WALL_MS).effective
    replica.close()


def test_the_file_is_no_larger_than_what_is_in_it(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r", 2**34)
    for number in range(100):
        replica.commit([creation(number)], WALL_MS)
    found = (tmp_path / "r" / "data.mdb").stat()
    assert found.st_size < 2**20, "one that is cut short must be told from a whole one"
    if reserve._fallocate is not None:
        assert found.st_blocks * 512 >= reserve.RESERVE_BYTES
    replica.close()
