"""Lets sessions that nobody uses leave the replica, once the store is seen to hold them so.

A request must not find gone at its end what it has opened. So whoever opens a session whose last
recorded access is not fresh records another one at once (``session/in_use.py``), and what goes has
been idle for longer than an access counts as fresh. In a replica that is too large anything may go,
whoever used it last: the copy that a request has then stands in for it. What stays is what somebody
has asked for and not looked at yet, and what is watched.
"""

from collections.abc import Sequence
from contextlib import suppress
from math import ceil

from clustersession.core.errors import ReplicaFull
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import (
    LOCAL_PREFIX,
    SessionState,
    access_coarseness_ms,
    expires_ms,
    idle_timeout_ms,
)
from clustersession.node.context import Context
from clustersession.node.moment import Moment
from clustersession.node.stays import Stays
from clustersession.node.store_calls import Read, StoreAnswer
from clustersession.node.store_channel import StoreChannel
from clustersession.node.store_reader import StoreReader

LOOKED_AT_ONCE = 128
EVICTED_AT_ONCE = 32
"""What one look takes: a millisecond or two of this process, and of the replica's one writer."""
LOOKS_PER_BEAT = 32
"""As long as each finds something. So some two thousand sessions a second can leave: more than a
worker can miss."""
FRESH_ACCESSES = 4
"""So many times longer than an access counts as fresh a session is idle at least."""
REFUSED_S = 10.0
"""How long what did not leave is passed over: the store may be full, or told only later."""


class NearCache:
    """Looks through the replica, a part with each beat, for what nobody uses.

    In a replica that is too large that is, of each part, what was unused for longest: keys are
    random, so a part is a sample of all.
    """

    def __init__(self, context: Context, channel: StoreChannel, reader: StoreReader) -> None:
        self._context = context
        self._channel = channel
        self._reader = reader
        self.stays = Stays()
        # After which key to look next.
        self._after = ""
        # The store has been asked whether it holds what is to go.
        self._asks = False
        # How many more looks may follow each other before the next beat.
        self._looks = 0
        # What did not leave though it was to, and until when, in monotonic seconds, it is not to be
        # in the way of others.
        self._refused: dict[str, float] = {}
        # How many sessions have left, and how many of them because the replica was too large.
        self.evicted = self.evicted_early = 0

    def forget(self) -> None:
        """Forget what was asked when the connection broke."""
        self._asks = False

    def tick(self, at: Moment) -> None:
        """Look through the next part, and through more while that lets sessions go."""
        self.stays.tick(at)
        self._refused = {key: s for key, s in self._refused.items() if s > at.now_s}
        self._looks = LOOKS_PER_BEAT
        self._look(at)

    def _look(self, at: Moment) -> None:
        idle_s = self._context.settings.effective_near_cache_idle_s
        if not idle_s or self._asks or not self._looks or not self._reader.checked:
            return
        self._looks -= 1
        replica, excess = self._context.replica, self._excess()
        bound_ms = 0.0 if excess else 1000 * idle_s
        is_early = excess > 0
        keys = replica.keys(self._after, LOOKED_AT_ONCE)
        self._after = keys[-1] if len(keys) == LOOKED_AT_ONCE else ""
        idle = []
        for key in keys:
            state = replica.get(key)
            if (
                state is not None and key not in self._refused
                and _is_idle(state, bound_ms, at.wall_ms)
                and self._may_go(key, state, at, is_early=is_early)
            ):
                idle.append((state.accessed_ms, key))
        if excess:
            idle = sorted(idle)[:excess]
        elif len(idle) > EVICTED_AT_ONCE:
            self._after = idle[EVICTED_AT_ONCE - 1][1]
        if idle:
            self._asks = True
            gone = [key for _, key in idle[:EVICTED_AT_ONCE]]
            self._channel.ask(
                [Read(key) for key in gone],
                lambda answers, at: self._evict(gone, answers, at, is_early=is_early), at,
            )

    def _excess(self) -> int:
        """Return how many sessions of a common size the replica has above its bound."""
        stats, bound_bytes = (
            self._context.replica.stats(), self._context.settings.effective_near_cache_bytes_max
        )
        above_bytes = max(0, stats.bytes_used - bound_bytes)
        return ceil(stats.sessions * above_bytes / max(stats.bytes_used, 1))

    def _may_go(self, key: str, state: SessionState, at: Moment, *, is_early: bool) -> bool:
        # Ends and revocations stay.
        if state.ended is not None or key.startswith(RESERVED_PREFIX):
            return False
        if self._is_looked_at(key, state, at, is_early=is_early):
            return False
        return not any(name.startswith(LOCAL_PREFIX) for name in state.registers)

    def _is_looked_at(self, key: str, state: SessionState, at: Moment, *, is_early: bool) -> bool:
        """Tell whether somebody watches a session, or has asked for it and not opened it since."""
        return self._context.is_watched(key) or self.stays.holds(key, state, at, crowded=is_early)

    def _evict(
        self, keys: Sequence[str], answers: Sequence[StoreAnswer], at: Moment, *, is_early: bool
    ) -> None:
        self._asks = False
        held = [
            (key, state) for key, state in zip(keys, answers, strict=True)
            if isinstance(state, SessionState)
            and not self._is_looked_at(key, state, at, is_early=is_early)
        ]
        # The replica compares: what the store holds otherwise, or a worker has written, stays.
        gone = 0
        with suppress(ReplicaFull):
            gone = self._context.replica.evict(held)
        for key in keys:
            if self._context.replica.get(key) is not None:
                self._refused[key] = at.now_s + REFUSED_S
        self.evicted += gone
        self.evicted_early += gone if is_early else 0
        if gone or is_early:
            # The answer of the store lies between two looks, and whoever waits for the node.
            self._look(at)


def _is_idle(state: SessionState, bound_ms: float, wall_ms: int) -> bool:
    if bound_ms:
        idle_ms = idle_timeout_ms(state)
        if not idle_ms:
            # Nobody records accesses.
            return False
        bound_ms = max(bound_ms, FRESH_ACCESSES * access_coarseness_ms(idle_ms))
    # What has expired is swept, and people are told.
    return wall_ms - state.accessed_ms >= bound_ms and wall_ms <= expires_ms(state)
