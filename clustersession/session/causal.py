"""Keeps reads from falling behind what their client has seen (``consistency="causal"``).

A copy that lacks writes a client names is treated like a session that is not here: the peers are
asked for them, for at most ``fetch_timeout_s``. Then what is here is served, and counted.

A client can name writes that nobody has any more, and go on doing so. So there are two bounds on
what waiting costs others: after one wait in vain nobody waits for that session for a while,
whatever is named, and of one process only a few requests wait at the same time.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import BoundedSemaphore

from clustersession.core.counters import Counters
from clustersession.core.state import SessionState
from clustersession.core.versions import covers
from clustersession.replica.replica import Replica

WAIT_AGAIN_MS = 5_000
"""How long nobody waits again for a session of which no peer could give what was named."""

WAITING_MAX = 4
"""Requests of a process that wait at the same time. One that asks a peer for what that has is
answered within a round trip; where many wait, a peer is slow, and threads are few."""

_GIVEN_UP_MAX = 1024

Seen = Mapping[bytes, int]


class CausalReads:
    """Finds copies that lag behind their client, and decides who may wait for a newer one.

    _given_up: sessions for whose newer writes somebody has waited in vain, and when; at most
    _GIVEN_UP_MAX. A node that died with its last writes leaves tokens that nobody can satisfy:
    without this memory, every request of their clients would wait. _free: the places of those who
    wait.
    """

    def __init__(
        self, replica: Replica, counters: Counters, wall_ms: Callable[[], int]
    ) -> None:
        self._replica = replica
        self._counters = counters
        self._wall_ms = wall_ms
        self._given_up: dict[str, int] = {}
        self._free = BoundedSemaphore(WAITING_MAX)

    def lacks(self, key: str, state: SessionState, seen: Seen) -> bool:
        """Tell whether peers are to be asked for a newer copy before the session is served."""
        if covers(state.versions, seen):
            return False
        given_up_ms = self._given_up.get(key)
        # Of a clock that was set back no pause is longer.
        if given_up_ms is None or abs(self._wall_ms() - given_up_ms) >= WAIT_AGAIN_MS:
            return True
        self._counters.stale_reads += 1
        return False

    @contextmanager
    def wait(self, key: str, seen: Seen) -> Iterator[bool]:
        """Give a place to wait in, False when all are taken; at the end judge what is here."""
        waits = self._free.acquire(blocking=False)
        try:
            yield waits
        finally:
            if waits:
                self._free.release()
        state = self._replica.get(key)
        if state is None or state.ended is not None or covers(state.versions, seen):
            return
        self._counters.stale_reads += 1
        if waits:
            self._give_up(key)

    def _give_up(self, key: str) -> None:
        if len(self._given_up) >= _GIVEN_UP_MAX:
            self._given_up.clear()
        self._given_up[key] = self._wall_ms()
