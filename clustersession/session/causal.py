"""Keeps reads from falling behind what their client has seen (``consistency="causal"``).

A copy that lacks writes a client names is treated like a session that is not here: the peers are
asked, and what they answer is merged. The first answer need not be the newest, so the replica is
looked at again until ``fetch_timeout_s`` is over. Then what is here is served, and counted.
"""

import time
from collections.abc import Iterator, Mapping

from clustersession.core.counters import Counters
from clustersession.core.state import SessionState
from clustersession.core.versions import covers
from clustersession.net.async_library import pause
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings

POLL_S = 0.002
WAIT_AGAIN_S = 5.0
"""How long nobody waits again for writes to a session that no peer could give."""

_GIVEN_UP_MAX = 1024

Seen = Mapping[bytes, int]


class CausalReads:
    """Finds copies that lag behind their client, and waits for newer ones.

    _given_up: sessions for whose newer writes somebody has waited in vain, with the writes and the
    time until when nobody waits for them again; at most _GIVEN_UP_MAX. A node that died with its
    last writes leaves tokens that nobody can satisfy: without this memory, every request of their
    clients would wait.
    """

    def __init__(self, settings: Settings, replica: Replica, counters: Counters) -> None:
        self._timeout_s = settings.fetch_timeout_s
        self._replica = replica
        self._counters = counters
        self._given_up: dict[str, tuple[Seen, float]] = {}

    def lacks(self, key: str, state: SessionState, seen: Seen) -> bool:
        """Tell whether peers are to be asked for a newer copy before the session is served."""
        if covers(state.versions, seen):
            return False
        given_up = self._given_up.get(key)
        if given_up is None or given_up[0] != seen or given_up[1] < time.monotonic():
            return True
        self._counters.stale_reads += 1
        return False

    def deadline_s(self) -> float:
        """Return when a wait that begins now is over, in monotonic seconds."""
        return time.monotonic() + self._timeout_s

    def wait(self, key: str, seen: Seen, deadline_s: float) -> None:
        """Return when the replica holds the writes, or at the deadline."""
        for pause_s in self._pauses(key, seen, deadline_s):
            time.sleep(pause_s)

    async def wait_async(self, key: str, seen: Seen, deadline_s: float) -> None:
        """Do what ``wait`` does, without blocking the event loop."""
        for pause_s in self._pauses(key, seen, deadline_s):
            await pause(pause_s)

    def _pauses(self, key: str, seen: Seen, deadline_s: float) -> Iterator[float]:
        while True:
            state = self._replica.get(key)
            if state is None or state.ended is not None or covers(state.versions, seen):
                return
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            yield min(POLL_S, left_s)
        self._counters.stale_reads += 1
        if len(self._given_up) >= _GIVEN_UP_MAX:
            self._given_up.clear()
        self._given_up[key] = seen, time.monotonic() + WAIT_AGAIN_S


