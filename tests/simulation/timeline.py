"""Virtual time: a heap of (second, number, action), so that the same plan always runs the same way.

There are two clocks, as in the product. Everybody shares the monotonic one; each host has a wall
clock of its own, which may be wrong, drift and be set.
"""

import heapq
import itertools
from collections.abc import Callable

from clustersession.node.moment import Moment

WALL_START_MS = 1_800_000_000_000

Action = Callable[[], None]


class Timeline:
    """The one clock of a world, and what is going to happen."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._heap: list[tuple[float, int, Action]] = []
        self._numbers = itertools.count()

    def later(self, delay_s: float, action: Action) -> None:
        """Do something after a while; what is due at the same instant happens in this order."""
        heapq.heappush(self._heap, (self.now_s + delay_s, next(self._numbers), action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end_s = self.now_s + seconds
        while self._heap and self._heap[0][0] <= end_s:
            when_s, _, action = heapq.heappop(self._heap)
            self.now_s = max(self.now_s, when_s)
            action()
        self.now_s = end_s

    @property
    def pending(self) -> int:
        """How many events are still to come."""
        return len(self._heap)


class WallClock:
    """The wall clock of one host."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._offset_ms = 0.0
        self._drift_ppm = 0.0
        self._since_s = 0.0

    def offset_ms(self) -> float:
        """How far it is off now."""
        drifted_s = (self._timeline.now_s - self._since_s) * self._drift_ppm / 1e6
        return self._offset_ms + drifted_s * 1000

    def set(self, offset_ms: float, drift_ppm: float = 0.0) -> None:
        """Set it wrong by so much, and let it run away from there."""
        self._offset_ms, self._drift_ppm = offset_ms, drift_ppm
        self._since_s = self._timeline.now_s

    def wall_ms(self) -> int:
        """What it shows."""
        return WALL_START_MS + int(self._timeline.now_s * 1000 + self.offset_ms())

    def moment(self) -> Moment:
        """Both clocks at once."""
        return Moment(self._timeline.now_s, self.wall_ms())
