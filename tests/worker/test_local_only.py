"""A node without an agent: expired sessions go all the same."""

import pytest
from freezegun import freeze_time

from clustersession.core.errors import ReplicaFull, ReplicaUnusable
from clustersession.core.expiring_values import expiring
from clustersession.core.reclaiming import untils
from clustersession.core.revocation import revoke
from clustersession.core.state import PRINCIPAL, Change, Creation
from clustersession.replica.engines.memory import MemoryEngine
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.worker import local_only
from clustersession.worker.host_clock import HostClock, kernel_ms
from clustersession.worker.local_only import (
    READER_CHECK_SWEEPS,
    SWEEP_AGAIN_S,
    SWEEP_INTERVAL_S,
    SWEEP_LIMIT,
    LocalOnly,
)

LONG_AGO_MS = 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [100.0]
    monkeypatch.setattr(local_only.time, "monotonic", lambda: now_s[0])
    return now_s


def replica_with(sessions: int) -> Replica:
    replica = open_memory(b"our node", clock_skew_ms_max=1000)
    for number in range(sessions):
        creation = Creation(LONG_AGO_MS, LONG_AGO_MS + 1000, 0)
        change = Change(f"1key{number}", LONG_AGO_MS, {"a": b"1"}, creation=creation)
        replica.commit([change], LONG_AGO_MS)
    return replica


async def test_there_is_nobody_to_ask_or_to_wait_for() -> None:
    cluster = LocalOnly("a", replica_with(0), HostClock(1000))
    cluster.feed_moved(1)
    assert cluster.route == "a"
    assert cluster.serving_routes() == {"a"}
    assert cluster.confirm(1)
    assert await cluster.confirm_async(1)
    assert not cluster.fetch("k")
    assert not await cluster.fetch_async("k")
    assert await cluster.subscribe("k", lambda: None) is None


async def test_expired_sessions_go_at_intervals_and_a_few_at_a_time(clock: list[float]) -> None:
    replica = replica_with(SWEEP_LIMIT + 1)
    cluster = LocalOnly("a", replica, HostClock(1000))
    assert cluster.confirm(1)
    assert replica.stats().sessions == 1, "at the first commit: the process may be a short one"
    assert await cluster.confirm_async(1)
    assert replica.stats().sessions == 1, "not at every commit"
    clock[0] += SWEEP_AGAIN_S
    cluster.feed_moved(1)
    assert replica.stats().sessions == 0


def test_a_full_disk_is_no_trouble_of_the_request(clock: list[float]) -> None:
    class Full(Replica):
        def sweep(self, *arguments: object) -> int:
            raise ReplicaFull("no space")

    replica = replica_with(1)
    replica.__class__ = Full
    cluster = LocalOnly("a", replica, HostClock(1000))
    clock[0] += SWEEP_INTERVAL_S
    assert cluster.confirm(1)


def test_files_are_kept_from_cleaners_and_what_is_missing_is_said(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[float] = []

    def keep() -> None:
        kept.append(clock[0])
        if len(kept) == 2:
            raise ReplicaUnusable("data.mdb were removed")

    cluster = LocalOnly("a", replica_with(0), HostClock(1000), keep)
    for _ in range(READER_CHECK_SWEEPS + 1):
        clock[0] += SWEEP_INTERVAL_S
        cluster.feed_moved(1)
    assert len(kept) == 2
    assert "data.mdb were removed" in caplog.text


def test_what_is_left_of_a_revocation_ends_in_parts(clock: list[float]) -> None:
    replica = Replica(MemoryEngine(), lambda: b"our node", clock_skew_ms_max=1000, ends_at_once=2)
    now_ms, life_ms = kernel_ms(), 3_600_000
    creation = Creation(now_ms, now_ms + life_ms, 0)
    for number in range(7):
        change = Change(f"1key{number}", now_ms, {PRINCIPAL: b"ann"}, creation=creation)
        replica.commit([change], now_ms)
    # Whoever called end_all was killed after its first part.
    replica.commit([revoke("ann", "", now_ms, life_ms)], now_ms)
    cluster, waits = LocalOnly("a", replica, HostClock(1000)), 0
    before = replica.stats().tombstones
    clock[0] += SWEEP_INTERVAL_S
    while replica.stats().tombstones < 7:
        cluster.feed_moved(1)
        assert replica.stats().tombstones <= before + 2, "a request waits"
        before, waits = replica.stats().tombstones, waits + 1
        clock[0] += SWEEP_AGAIN_S
    assert waits == 3


def test_a_clock_that_a_test_has_moved_removes_nothing(clock: list[float]) -> None:
    replica = open_memory(b"our node", clock_skew_ms_max=1000)
    now_ms = kernel_ms()
    creation = Creation(now_ms, now_ms + 3_600_000, 0)
    replica.commit([Change("1key", now_ms, {"a": b"1"}, creation=creation)], now_ms)
    cluster = LocalOnly("a", replica, HostClock(1000))
    clock[0] += SWEEP_INTERVAL_S
    with freeze_time("2090-01-01"):
        cluster.feed_moved(1)
    assert replica.stats().sessions == 1


def test_attributes_that_expired_go_too(clock: list[float]) -> None:
    replica = open_memory(b"our node", clock_skew_ms_max=1000)
    now_ms = kernel_ms()
    creation = Creation(now_ms, now_ms + 3_600_000, 0)
    values = {"a": b"1", "otp": expiring(b"2", now_ms - 60_000)}
    for number in range(SWEEP_LIMIT + 1):
        change = Change(f"1key{number}", now_ms, values, creation=creation)
        replica.commit([change], now_ms)

    def left() -> int:
        states = [replica.get(f"1key{number}") for number in range(SWEEP_LIMIT + 1)]
        return sum(bool(state and untils(state)) for state in states)

    cluster = LocalOnly("a", replica, HostClock(1000))
    cluster.feed_moved(1)
    assert left() == 1
    clock[0] += SWEEP_AGAIN_S
    cluster.feed_moved(1)
    assert left() == 0
    assert replica.stats().sessions == SWEEP_LIMIT + 1


def test_a_test_that_moves_its_clock_waits_for_no_sweep() -> None:
    replica = open_memory(b"our node", clock_skew_ms_max=1000)
    now_ms = kernel_ms()
    creation = Creation(now_ms, now_ms + 3_600_000, 0)
    values = {"otp": expiring(b"2", now_ms - 60_000)}
    replica.commit([Change("1key", now_ms, values, creation=creation)], now_ms)
    LocalOnly("a", replica, HostClock(1000)).sweep()
    state = replica.get("1key")
    assert state is not None
    assert not untils(state)
