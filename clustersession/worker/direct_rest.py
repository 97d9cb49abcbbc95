"""Decides when a worker asks peers directly, and when it leaves that be for a while.

Where UDP does not pass, each attempt would cost its whole patience. After some in a row that
nobody answered the agent alone is asked for a while, longer each time. Peers that refuse what they
are sent have answered; but their refusals cost a way there and back, so some in a row are a reason
for a short rest as well. So are misses after a write that was held: UDP passes, and whoever was
asked is busy for a moment.
"""

MISSES_MAX = 3
REST_S_MIN = 1.0
REST_S_MAX = 60.0
REFUSALS_MAX = 4
SHORT_REST_S = 0.1


class DirectRest:
    """Rests after failures in a row; one write that is held ends it.

    _misses, _refusals: how many in a row. _passes: a write was held since the last rest for misses.
    _rest_s: how long the next rest is, if none was. _until_s: in monotonic seconds, when this one
    is over. Threads may lose a count to each other.
    """

    def __init__(self) -> None:
        self._misses = self._refusals = 0
        self._passes = False
        self._rest_s = REST_S_MIN
        self._until_s = float("-inf")

    def is_resting(self, now_s: float) -> bool:
        """Tell whether to ask the agent at once."""
        return now_s < self._until_s

    def held(self) -> None:
        """Note that a peer holds what it was sent."""
        self._misses = self._refusals = 0
        self._passes = True
        self._rest_s = REST_S_MIN

    def refused(self, now_s: float) -> None:
        """Note that a peer has answered, and does not take what it was sent."""
        self._misses = 0
        self._refusals += 1
        if self._refusals >= REFUSALS_MAX:
            self._until_s = now_s + SHORT_REST_S

    def missed(self, now_s: float) -> None:
        """Note that nobody has answered. After a rest one miss is enough for the next."""
        self._misses += 1
        if self._misses >= MISSES_MAX:
            if self._passes:
                self._passes = False
                self._until_s = now_s + SHORT_REST_S
                return
            self._until_s = now_s + self._rest_s
            self._rest_s = min(2 * self._rest_s, REST_S_MAX)
