"""Is the clock of a run of tests, which the tests may move.

It exists only where sessions are kept apart from every live node (see ``run_of_tests``): there it
is right that what stands in Python's place for the time (freezegun, time-machine) counts, and that
what expires by it is removed. Everywhere else ``HostClock`` guards the replica against both.
"""

import time

from clustersession.settings.settings import Settings
from clustersession.worker.host_clock import HostClock
from clustersession.worker.run_of_tests import tests_state_dir

_ahead_ms = 0
"""By how much the clock of this process's tests is ahead of Python's."""


class MovableClock(HostClock):
    """Tells Python's time and what a test has added to it, and believes it."""

    def __init__(self) -> None:
        super().__init__(0)

    def wall_ms(self) -> int:
        """Return the time of day in milliseconds, moved."""
        return time.time_ns() // 1_000_000 + _ahead_ms

    def earlier_ms(self) -> int:
        """Return the time by which sessions may be removed: the moved one."""
        return self.wall_ms()

    def checked(self, wall_ms: int) -> int:
        """Return a time as it stands: no node but this one sees it."""
        return wall_ms


def worker_clock(settings: Settings) -> HostClock:
    """Make the clock of a node that is opened in this process."""
    if tests_state_dir() is not None:
        return MovableClock()
    return HostClock(settings.stamp_lead_ms_max)


def ahead_ms() -> int:
    """Return by how much tests have moved the clock."""
    return _ahead_ms


def set_ahead(ms: int) -> None:
    """Move the clock of all nodes that this process has open for its tests."""
    global _ahead_ms
    _ahead_ms = ms
