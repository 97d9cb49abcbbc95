"""Is the wall clock of a worker, which a test may have frozen beside a live node.

What stands in Python's place for the time (freezegun, time-machine) is what a test wants for its
own sessions. In the replica of a node that has peers it would be poison: they refuse stamps far in
their future, and the node's clock never goes back. So where the replica finds a time far from its
own, the kernel is asked; it dates a new pipe, and nobody patches that.
"""

import logging
import os
import time
from collections.abc import Callable

logger = logging.getLogger("clustersession")


def kernel_ms() -> int:
    """Return the kernel's wall-clock milliseconds, to some milliseconds; 0 where it says none.

    A process may have no descriptors left, and its requests must not fail for want of a date.
    """
    try:
        ends = os.pipe()
    except OSError:
        return 0
    try:
        return os.fstat(ends[0]).st_mtime_ns // 1_000_000
    finally:
        for end in ends:
            os.close(end)


class HostClock:
    """Tells Python's time until that proves to be another one than the kernel's, then the kernel's.

    _distrusted: Python's clock was caught; never taken back.
    """

    def __init__(self, lead_ms_max: int, kernel_ms: Callable[[], int] = kernel_ms) -> None:
        self._lead_ms_max = lead_ms_max
        self._kernel_ms = kernel_ms
        self._distrusted = False

    def wall_ms(self) -> int:
        """Return the time of day in milliseconds."""
        kernel_ms = self._kernel_ms() if self._distrusted else 0
        return kernel_ms or time.time_ns() // 1_000_000

    def earlier_ms(self) -> int:
        """Return the time by which sessions may be removed: Python's or the kernel's."""
        wall_ms = self.wall_ms()
        return min(wall_ms, self._kernel_ms() or wall_ms)

    def checked(self, wall_ms: int) -> int:
        """Return a time as it stands if the kernel's is not far from it, else the kernel's."""
        real_ms = self._kernel_ms()
        if not real_ms or abs(wall_ms - real_ms) <= self._lead_ms_max:
            return wall_ms
        if not self._distrusted:
            self._distrusted = True
            logger.warning(
                "clustersession: the clock of this process is %+d s off the kernel's, as in a test "
                "that has frozen it; this node has peers, so its sessions are dated by the kernel. "
                "Give tests a state_dir of their own",
                (wall_ms - real_ms) // 1000,
            )
        return real_ms
