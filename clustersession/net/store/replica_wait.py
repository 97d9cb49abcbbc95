"""Decides how long a write waits for the replicas of a store.

Meanwhile a server carries out nothing else of that connection, and sessions that requests wait for
would come too late. So replicas that let one write wait in vain cost that wait now and then, and
not with each write.
"""

from typing import Final

PATIENCE_MS: Final = 100
"""Servers look at their clocks every tenth of a second only when nothing else wakes them, and both
together are less than requests wait for a session by default."""
PAUSE_S: Final = 1.0
PAUSE_S_MAX: Final = 5.0
"""Of the pause before the next full wait, which doubles until the replicas hold a write in time."""


class ReplicaWait:
    """Knows whether the replicas of one server held the last writes in time.

    _pause_s: how long nobody waits after a wait in vain; 0 while there is none. _again_s: its end.
    """

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._again_s = 0.0

    def patience_ms(self, now_s: float) -> int:
        """Return how long the next write is to wait; 0 for not at all."""
        if self._pause_s:
            if now_s < self._again_s:
                return 0
            self._rest(now_s)
        return PATIENCE_MS

    def answered(self, enough: bool, now_s: float) -> None:
        """Note whether as many replicas as are wanted held a write in time."""
        if enough:
            self._pause_s = 0.0
        elif not self._pause_s:
            self._rest(now_s)

    def _rest(self, now_s: float) -> None:
        self._pause_s = min(2 * self._pause_s or PAUSE_S, PAUSE_S_MAX)
        self._again_s = now_s + self._pause_s
