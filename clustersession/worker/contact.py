"""Knows whether the node has met its peers, for the requests that wait for that.

A replica that was out of touch holds sessions that were logged out on other nodes meanwhile. So
until the agent has caught up with its peers, a session that is found here is asked for like one
that is missing. Requests wait for an agent that is only starting, all of them until the same
moment; and when one has waited for its peers in vain, nobody waits again: availability first.
"""

import time
from collections.abc import Callable

from clustersession.core.contact import CONTACT_NOTE, MET
from clustersession.core.errors import ReplicaError
from clustersession.core.state import expires_ms
from clustersession.replica.replica import Replica

AGENT_WAIT_S = 3.0
"""How long an agent that is to come is waited for: by a server that starts, and by requests."""


class AgentContact:
    """Implements ``session.cluster_port.Contact``.

    apart: ``is_apart`` has to be asked; once False it stays so until an agent is lost.
    _gave_up: it is False because somebody waited in vain, and not because peers were met.
    """

    def __init__(
        self,
        replica: Replica,
        is_attached: Callable[[], bool],
        now_s: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._replica = replica
        self._is_attached = is_attached
        self._now_s = now_s
        self._wall_ms = wall_ms
        # Until when an agent is waited for, in monotonic seconds.
        self._until_s = now_s() + AGENT_WAIT_S
        self.apart = self._note() is not None
        self._gave_up = False

    def is_apart(self) -> bool:
        """Tell whether a session that is here may have ended on a peer meanwhile."""
        if self.apart and self._is_attached() and self._note() == MET:
            self.apart = False
        return self.apart

    def patience_s(self) -> float:
        """Return how long to wait for an agent that is not there yet."""
        return max(0.0, self._until_s - self._now_s()) if self.apart else 0.0

    def waited_for(self, key: str) -> None:
        """Note that the peers were asked for a session in vain; if it lives here, it has to do.

        One that has expired is asked for in vain as well, by peers that answer at once.
        """
        state = self._replica.get(key) if self.apart else None
        if state is not None and state.ended is None and self._wall_ms() <= expires_ms(state):
            self.apart, self._gave_up = False, True

    def lost(self) -> None:
        """Note that the agent is gone. One that had not met its peers yet changes nothing."""
        note = self._note()
        # A sibling may have started the next agent already, which begins apart.
        if note == MET or (note is not None and not self.apart and not self._gave_up):
            self._until_s = self._now_s() + AGENT_WAIT_S
            self.apart, self._gave_up = True, False

    def _note(self) -> bytes | None:
        try:
            return self._replica.load_note(CONTACT_NOTE)
        except ReplicaError:
            return None
