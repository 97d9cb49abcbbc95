"""What does not fit at once is swept in parts."""

import random
from contextlib import suppress
from pathlib import Path

import pytest

from clustersession.core.errors import ReplicaFull
from clustersession.core.state import Change, Creation, SessionState
from clustersession.replica.opening import open_memory
from clustersession.replica.sweeping import sweep_in_parts
from tests.replica.engines.lmdb.filling import filled, opened
from tests.replica.replica_checks import NODE_A, NODE_B, SKEW_MS, WALL_MS, check, creation


def test_what_does_not_fit_at_once_goes_in_parts(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r", 8 * 2**20)
    chance = random.Random(7)
    keys: list[str] = []
    with suppress(ReplicaFull):
        while len(keys) < 100_000:
            # In no order, as ids are: each touches pages of its own.
            key = f"1{chance.randbytes(11).hex()}"
            values = {"v": chance.randbytes(300)}
            created = Creation(WALL_MS, WALL_MS + 3_600_000, 60_000)
            replica.commit([Change(key, WALL_MS, values, creation=created)], WALL_MS)
            keys.append(key)
    peer = open_memory(NODE_B, clock_skew_ms_max=SKEW_MS)
    peer.merge(replica.snapshot("", 2**40).sessions, WALL_MS)
    ended = chance.sample(keys, 300)
    peer.commit([Change(key, WALL_MS, end="invalidated") for key in ended], WALL_MS)
    peer.commit([creation(0, {"v": bytes(100_000)})], WALL_MS)
    with pytest.raises(ReplicaFull):
        replica.apply(peer.feed(0, 0, 2**30), WALL_MS)
    states = [replica.get(key) for key in ended]
    assert all(state is not None and state.ended is not None for state in states)
    late_ms = WALL_MS + 3_600_000 + 2 * SKEW_MS
    with pytest.raises(ReplicaFull):
        replica.sweep(late_ms, 1000)
    removed: list[tuple[str, SessionState]] = []
    assert sweep_in_parts(replica, late_ms, 1000, removed) == 1000
    assert 600 < len(removed) <= 1000, "and no end is told of as an expiry"
    assert len({key for key, _ in removed}) == len(removed)
    while sweep_in_parts(replica, late_ms, 1000):
        pass
    assert filled(replica) > 1000
    check(replica)
    replica.close()


def test_when_not_even_one_can_be_removed_it_is_told() -> None:
    replica = open_memory(NODE_A, clock_skew_ms_max=SKEW_MS)
    asked: list[int] = []

    def full(wall_ms: int, limit: int, removed: object = None) -> int:
        asked.append(limit)
        raise ReplicaFull("no space left")

    replica.sweep = full  # type: ignore[method-assign]
    with pytest.raises(ReplicaFull):
        sweep_in_parts(replica, WALL_MS, 1000)
    assert asked == [1000, 125, 15, 1]
