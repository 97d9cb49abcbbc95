"""The wall clock of a worker, and what a test that moves it does to a live node's replica."""

import errno
import logging
import os
import time
from pathlib import Path

import pytest
from freezegun import freeze_time

from clustersession.core.clock import wall_ms_of
from clustersession.core.contact import CONTACT_NOTE, MET
from clustersession.core.state import highest_time
from clustersession.worker.host_clock import HostClock, kernel_ms
from clustersession.worker.runtime import Runtime

LEAD_MS = 600_000


def test_nobody_moves_the_kernels_clock() -> None:
    real_ms = time.time_ns() // 1_000_000
    for frozen in ("2030-01-01", "2001-01-01"):
        with freeze_time(frozen):
            assert abs(kernel_ms() - real_ms) < 60_000
            assert abs(time.time_ns() // 1_000_000 - real_ms) > 86_400_000


@pytest.mark.parametrize("ahead_ms", [LEAD_MS + 1, -LEAD_MS - 1])
def test_a_clock_far_from_the_kernels_is_left_with_one_warning(
    ahead_ms: int, caplog: pytest.LogCaptureFixture
) -> None:
    clock = HostClock(LEAD_MS, lambda: 1_800_000_000_000)
    with caplog.at_level(logging.WARNING, "clustersession"):
        for _ in range(2):
            assert clock.checked(1_800_000_000_000 + ahead_ms) == 1_800_000_000_000
    assert clock.wall_ms() == 1_800_000_000_000
    assert len(caplog.records) == 1


def test_a_clock_near_the_kernels_is_believed() -> None:
    clock = HostClock(LEAD_MS, lambda: 1_800_000_000_000)
    assert clock.checked(1_800_000_000_000 + LEAD_MS) == 1_800_000_000_000 + LEAD_MS
    assert abs(clock.wall_ms() - time.time_ns() // 1_000_000) < 60_000, "it is not the kernel's"


def test_where_the_kernel_says_none_python_is_believed() -> None:
    clock = HostClock(LEAD_MS, lambda: 0)
    assert clock.checked(4_000_000_000_000) == 4_000_000_000_000
    assert abs(clock.earlier_ms() - time.time_ns() // 1_000_000) < 60_000


def test_a_process_without_descriptors_still_has_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HostClock(LEAD_MS)
    with freeze_time("2030-01-01"):
        clock.checked(time.time_ns() // 1_000_000)

    def pipe() -> tuple[int, int]:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "pipe", pipe)
    assert kernel_ms() == 0
    assert clock.wall_ms() > 1_700_000_000_000
    assert clock.checked(4_000_000_000_000) == 4_000_000_000_000


def visits(runtime: Runtime, count: int) -> list[int]:
    """What an application counts in the requests of one client."""
    manager, cookies, seen = runtime.manager(), [], []
    for _ in range(count):
        visit = manager.open(cookies)
        visit.session["n"] = visit.session.get("n", 0) + 1
        seen.append(visit.session["n"])
        manager.commit(visit)
        assert visit.identifier is not None
        cookies = [f"{visit.identifier}.a"]
    return seen


@pytest.mark.parametrize("frozen", ["2090-01-01", "2001-01-01"])
def test_a_frozen_clock_beside_a_live_node_counts_and_leaves_nothing_wrong(
    tmp_path: Path, frozen: str
) -> None:
    options = {"state_dir": str(tmp_path), "route": "a", "map_bytes": 2**26}
    runtime = Runtime.from_options(options)
    # As an agent leaves it that has met a peer.
    runtime.manager().replica.save_note(CONTACT_NOTE, MET)
    try:
        with freeze_time(frozen):
            assert visits(runtime, 3) == [1, 2, 3]
        replica, now_ms = runtime.manager().replica, kernel_ms()
        (key,) = replica.keys("", 10)
        state = replica.get(key)
        assert state is not None
        times_ms = [
            state.created_ms, state.accessed_ms, wall_ms_of(highest_time(state)),
            replica.highest_ms(),
        ]
        assert [t for t in times_ms if abs(t - now_ms) > 60_000] == []
        assert now_ms < state.deadline_ms < now_ms + 40 * 86_400_000
    finally:
        runtime.close()


def test_a_test_that_moves_the_clock_of_a_node_of_its_own_sees_its_sessions_expire(
    tmp_path: Path,
) -> None:
    runtime = Runtime.from_options(
        {"state_dir": str(tmp_path), "route": "a", "map_bytes": 2**26, "idle_timeout_s": 600.0}
    )
    try:
        manager = runtime.manager()
        with freeze_time("2030-01-01 12:00") as frozen:
            visit = manager.open([])
            visit.session["n"] = 1
            manager.commit(visit)
            cookie = f"{visit.identifier}.a"
            assert manager.open([cookie]).session == {"n": 1}
            frozen.tick(3600)
            assert manager.open([cookie]).session == {}
    finally:
        runtime.close()
