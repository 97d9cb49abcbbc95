"""Numbers what this node tells in a store: the others read it again when the number has changed.

Most of a heartbeat changes all the time and follows from what was read before: how long a node has
been up, and its clock. A clock that was set does not follow, and is told.
"""

from dataclasses import replace

from clustersession.core.identity import Identity
from clustersession.node.moment import Moment
from clustersession.wire.messages import Heartbeat

CLOCK_STEP_MS = 500
"""By so much a clock is told late, if it is: less matters to nobody."""


class OwnEdition:
    """Compares what a node tells with what it told before."""

    def __init__(self, own: Identity) -> None:
        # No two starts of a node have the same numbers.
        self._number = own.incarnation
        self._steady: Heartbeat | None = None
        # The wall clock at our monotonic zero.
        self._clock_ms = 0.0

    def of(self, told: Heartbeat, at: Moment) -> int:
        """Return the number of what is told now."""
        steady = replace(told, uptime_ms=0, wall_ms=0, head=0, multicast_head=0)
        clock_ms = at.wall_ms - at.now_s * 1000
        if steady != self._steady or abs(clock_ms - self._clock_ms) >= CLOCK_STEP_MS:
            self._number += 1
            self._steady, self._clock_ms = steady, clock_ms
        return self._number
