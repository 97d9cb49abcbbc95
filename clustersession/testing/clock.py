"""Moves the clock by which the sessions of this process's tests live."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from clustersession.testing.isolation import close_all
from clustersession.worker import moved_clock as worker_clock
from clustersession.worker.local_only import LocalOnly
from clustersession.worker.run_of_tests import begin_anew, tests_state_dir
from clustersession.worker.runtime import opened_runtimes

_STEPS_MAX = 200
"""Accesses of open requests are recorded that often while the clock is moved, at most."""
_STEP_MS_MIN = 500


class ClusterClock:
    """Is the clock of the test's sessions. It goes forward only."""

    def advance(
        self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> None:
        """Let time pass: open requests count as accesses, and what has expired is removed.

        Raises ValueError for a step back, which sessions never see.
        """
        passing = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days)
        left_ms = round(passing.total_seconds() * 1000)
        if left_ms < 0:
            raise ValueError("the clock of sessions only goes forward")
        managers = [runtime.manager() for runtime in opened_runtimes()]
        for manager in managers:
            # It looks for those that were open at the last look, too.
            manager.open_visits.record_accesses()
        step_ms = max(left_ms // _STEPS_MAX, _STEP_MS_MIN)
        while left_ms > 0:
            passed_ms = min(step_ms, left_ms)
            left_ms -= passed_ms
            worker_clock.set_ahead(worker_clock.ahead_ms() + passed_ms)
            for manager in managers:
                manager.open_visits.record_accesses()
        for manager in managers:
            if isinstance(manager.cluster, LocalOnly):
                manager.cluster.sweep()

    def now(self) -> datetime:
        """Return the time that sessions go by, in UTC."""
        return datetime.fromtimestamp(worker_clock.MovableClock().wall_ms() / 1000, UTC)


@contextmanager
def moved_clock() -> Iterator[ClusterClock]:
    """Give a clock for the block; afterwards time is what it was, and its sessions are gone.

    A later login would be ended by what was revoked in its future. Raises RuntimeError where
    sessions are not kept apart from live nodes.
    """
    if tests_state_dir() is None:
        raise RuntimeError(
            "the clock can only be moved where tests keep their sessions apart: this is no run of "
            "tests (use clustersession.testing.isolated), or clustersession_state_dir is configured"
        )
    before_ms = worker_clock.ahead_ms()
    try:
        yield ClusterClock()
    finally:
        if worker_clock.ahead_ms() != before_ms:
            close_all()
            worker_clock.set_ahead(before_ms)
            begin_anew()
