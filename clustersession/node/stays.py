"""Knows which sessions stay here for a while, because somebody has asked for them.

What a request was brought may have been idle for long, and is not opened yet. What a list names is
looked at once its answer is there, whoever uses it meanwhile.
"""

from clustersession.core.state import SessionState
from clustersession.node.moment import Moment

BROUGHT_STAYS_S = 30.0
"""How long a request may take to open what it was brought: the process may be held up."""
BROUGHT_STAYS_CROWDED_S = 5.0
"""The same where the replica is too large: as long as an agent waits for a worker's process."""
LISTED_STAYS_S = 5.0


class Stays:
    """Tells the near cache what is not to leave yet."""

    def __init__(self) -> None:
        # By session, when a request asked for it last, in wall-clock milliseconds, as accesses are,
        # and in that order; and until when a list is looked at, in monotonic seconds.
        self._brought_ms: dict[str, int] = {}
        self._listed_s: dict[str, float] = {}

    def bring(self, key: str, at: Moment) -> None:
        """Note that a request waits for a session, and will open it."""
        self._brought_ms.pop(key, None)
        self._brought_ms[key] = at.wall_ms

    def list(self, key: str, at: Moment) -> None:
        """Note that who asked for a user's sessions will look at this one."""
        self._listed_s[key] = at.now_s + LISTED_STAYS_S

    def tick(self, at: Moment) -> None:
        """Let go what there was time enough to look at."""
        while self._brought_ms:
            key, asked_ms = next(iter(self._brought_ms.items()))
            if at.wall_ms - asked_ms < BROUGHT_STAYS_S * 1000:
                break
            del self._brought_ms[key]
        self._listed_s = {key: s for key, s in self._listed_s.items() if s > at.now_s}

    def holds(self, key: str, state: SessionState, at: Moment, *, crowded: bool) -> bool:
        """Tell whether a session is to stay; what was brought until it is used.

        crowded: the replica is too large. That it was used is not seen of a session whose recorded
        access was fresh.
        """
        if key in self._listed_s:
            return True
        brought_ms = self._brought_ms.get(key, 0)
        if crowded and at.wall_ms - brought_ms >= BROUGHT_STAYS_CROWDED_S * 1000:
            return False
        return state.accessed_ms < brought_ms
