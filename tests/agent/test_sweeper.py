"""The sweeper goes on whatever a turn brings, and tells whom it removed."""

import asyncio
import time
from contextlib import suppress

import pytest

from clustersession.agent import sweeper as module
from clustersession.agent.event_log import EventLog
from clustersession.agent.sweeper import SWEEP_LIMIT, Sweeper
from clustersession.core.errors import ReplicaFull
from clustersession.core.expiring_values import expiring
from clustersession.core.revocation import revoke
from clustersession.core.state import PRINCIPAL, Change, Creation
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import ENDS_AT_ONCE, Replica
from tests.agent.reporting import event_log

LONG_AGO_MS = 1_700_000_000_000


def expired(count: int) -> Replica:
    replica = open_memory(b"nodenode", clock_skew_ms_max=300_000)
    for number in range(count):
        creation = Creation(LONG_AGO_MS, LONG_AGO_MS + 1000, 1000)
        replica.commit([Change(f"1key{number:019d}", LONG_AGO_MS, creation=creation)], LONG_AGO_MS)
    return replica


async def turns(
    replica: Replica, count: int, log: EventLog | None = None
) -> tuple[Sweeper, list[str]]:
    """Let a sweeper take turns; returns it and the keys that it told of."""
    told: list[str] = []
    done = asyncio.Event()
    left = [count]

    def on_turn() -> None:
        left[0] -= 1
        if not left[0]:
            done.set()

    made = Sweeper(
        replica, log or event_log(), lambda removed: told.extend(key for key, _ in removed),
        lambda stored: told.extend(f"{key} lives" for key, _, _ in stored), on_turn,
    )
    task = asyncio.ensure_future(made.run())
    async with asyncio.timeout(10):
        await done.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return made, told


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_INTERVAL_S", 0.001)


async def test_one_turn_takes_all_that_is_expired_however_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SWEEP_LIMIT", 10)
    made, told = await turns(expired(35), 1)
    assert (made.swept, len(set(told))) == (35, 35)


async def test_a_full_disk_is_told_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    replica, refusals = expired(3), [ReplicaFull("no space left")] * 2
    sweep = replica.sweep

    def full_at_first(*arguments: object) -> int:
        if refusals:
            raise refusals.pop()
        return sweep(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("clustersession.replica.sweeping.SMALLER_STEP_DIVISOR", 1000)
    replica.sweep = full_at_first  # type: ignore[method-assign]
    log = event_log()
    made, told = await turns(replica, 2, log)
    assert (made.sweeps, made.swept, len(told)) == (2, 3, 3)
    ((_, level, text),) = log.recent
    assert (level, text) == ("error", "expired sessions stay: no space left")


async def test_slots_of_readers_that_were_killed_are_freed_now_and_then() -> None:
    replica, checks = expired(0), []
    replica.reader_check = lambda: checks.append(1)  # type: ignore[attr-defined]
    await turns(replica, 2 * module.READER_CHECK_SWEEPS)
    assert len(checks) == 2


async def test_revoked_sessions_that_somebody_left_are_ended(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_INTERVAL_S", 0.01)
    now_ms = time.time_ns() // 1_000_000
    replica = open_memory(b"nodenode", clock_skew_ms_max=300_000)
    creation = Creation(now_ms, now_ms + 3_600_000, 3_600_000)
    replica.commit([
        Change(f"1key{number:019d}", now_ms, {PRINCIPAL: b"ann"}, creation=creation)
        for number in range(3 * ENDS_AT_ONCE)
    ], now_ms)
    replica.commit([revoke("ann", "", now_ms, 3_600_000)], now_ms)
    assert replica.stats().tombstones == ENDS_AT_ONCE
    await turns(replica, 1)
    assert replica.stats().tombstones == 3 * ENDS_AT_ONCE
    assert replica.end_revoked() is None


async def test_attributes_that_expired_are_told_of_and_their_sessions_live() -> None:
    now_ms = time.time_ns() // 1_000_000
    replica = open_memory(b"nodenode", clock_skew_ms_max=300_000)
    creation = Creation(now_ms, now_ms + 3_600_000, 0)
    values = {"a": b"1", "otp": expiring(b"2", now_ms - 60_000)}
    keys = [f"1key{number:019d}" for number in range(3 * SWEEP_LIMIT)]
    replica.commit([Change(key, now_ms, values, creation=creation) for key in keys], now_ms)
    _, told = await turns(replica, 1)
    assert sorted(told) == [f"{key} lives" for key in keys]
    state = replica.get(keys[0])
    assert state is not None
    assert state.registers["otp"].value is None
    assert replica.head() == len(keys)
