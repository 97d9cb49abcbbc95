"""A node without an agent: expired sessions go all the same."""

import pytest

from clustersession.core.errors import ReplicaFull
from clustersession.core.state import Change, Creation
from clustersession.replica.opening import open_memory
from clustersession.replica.store import ReplicaStore
from clustersession.worker import alone
from clustersession.worker.alone import SWEEP_AGAIN_S, SWEEP_INTERVAL_S, SWEEP_LIMIT, Alone

LONG_AGO_MS = 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [100.0]
    monkeypatch.setattr(alone.time, "monotonic", lambda: now_s[0])
    return now_s


def replica_with(sessions: int) -> ReplicaStore:
    replica = open_memory(b"our node", clock_skew_ms_max=1000)
    for number in range(sessions):
        creation = Creation(LONG_AGO_MS, LONG_AGO_MS + 1000, 0)
        change = Change(f"1key{number}", LONG_AGO_MS, {"a": b"1"}, creation=creation)
        replica.commit([change], LONG_AGO_MS)
    return replica


async def test_expired_sessions_go_at_intervals_and_a_few_at_a_time(clock: list[float]) -> None:
    replica = replica_with(SWEEP_LIMIT + 1)
    port = Alone("a", replica)
    assert port.confirm(1)
    assert replica.stats().sessions == SWEEP_LIMIT + 1, "not at every commit"
    clock[0] += SWEEP_INTERVAL_S
    assert await port.confirm_async(1)
    assert replica.stats().sessions == 1
    port.feed_moved(1)
    assert replica.stats().sessions == 1
    clock[0] += SWEEP_AGAIN_S
    port.feed_moved(1)
    assert replica.stats().sessions == 0


def test_a_full_disk_is_no_trouble_of_the_request(clock: list[float]) -> None:
    class Full(ReplicaStore):
        def sweep(self, *arguments: object) -> int:
            raise ReplicaFull("no space")

    replica = replica_with(1)
    replica.__class__ = Full
    port = Alone("a", replica)
    clock[0] += SWEEP_INTERVAL_S
    assert port.confirm(1)
