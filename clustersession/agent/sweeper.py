"""Removes expired sessions and attributes, and looks after the replica now and then."""

import asyncio
from collections.abc import Callable, Sequence

from clustersession.agent.driver import moment
from clustersession.agent.event_log import EventLog
from clustersession.agent.pacing import TimedParts
from clustersession.core.errors import ReplicaError
from clustersession.core.state import SessionState
from clustersession.replica.replica import Replica
from clustersession.replica.results import Stored
from clustersession.replica.sweeping import (
    BETWEEN_PARTS_S,
    end_revoked_in_parts,
    reclaim_in_parts,
    sweep_in_parts,
)
from clustersession.replica.turns import TURN_S

SWEEP_INTERVAL_S = 5.0
SWEEP_LIMIT = 64
"""At some 25 µs each, so that other writers wait for no more than ``replica.turns`` lets them.
Where they take longer, a part has fewer, see ``agent.pacing``."""
READER_CHECK_SWEEPS = 12


class Sweeper:
    """Takes a turn every SWEEP_INTERVAL_S.

    ``on_swept`` gets the sessions that were removed, ``on_reclaimed`` what became of those of which
    attributes expired, ``on_turn`` is called after each turn. spread: what this node has written is
    deleted by a write of its own, see ``core.reclaiming``.
    """

    def __init__(
        self,
        replica: Replica,
        event_log: EventLog,
        on_swept: Callable[[Sequence[tuple[str, SessionState]]], None],
        on_reclaimed: Callable[[Sequence[Stored]], None],
        on_turn: Callable[[], None],
        *,
        spread: bool = False,
    ) -> None:
        self._replica = replica
        self._event_log = event_log
        self._on_swept = on_swept
        self._on_reclaimed = on_reclaimed
        self._spread = spread
        self._on_turn = on_turn
        # Turns taken, and sessions removed, since the start.
        self.sweeps = 0
        self.swept = 0

    async def run(self) -> None:
        """Sweep until cancelled."""
        reader_check = getattr(self._replica, "reader_check", None)
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            self.sweeps += 1
            try:
                await self._sweep()
                if reader_check is not None and self.sweeps % READER_CHECK_SWEEPS == 0:
                    reader_check()
            except ReplicaError as error:
                # On a full disk even removing needs space; there may be some at the next attempt.
                self._event_log.seldom("error", "sweep_failed", f"expired sessions stay: {error}")
            self._on_turn()

    async def _sweep(self) -> None:
        parts, swept = TimedParts(SWEEP_LIMIT, TURN_S), 1
        while swept:
            removed: list[tuple[str, SessionState]] = []
            with parts.measured():
                swept = sweep_in_parts(self._replica, moment().wall_ms, parts.count, removed)
            self.swept += swept
            self._on_swept(removed)
            await asyncio.sleep(max(BETWEEN_PARTS_S, parts.taken_s))
        await self._reclaim()
        for _ in end_revoked_in_parts(self._replica):
            await asyncio.sleep(BETWEEN_PARTS_S)

    async def _reclaim(self) -> None:
        parts, looked = TimedParts(SWEEP_LIMIT, TURN_S), True
        while looked:
            with parts.measured():
                done = reclaim_in_parts(
                    self._replica, moment().wall_ms, parts.count, spread=self._spread
                )
            looked = bool(done.states)
            if done.stored:
                self._on_reclaimed(done.stored)
            await asyncio.sleep(max(BETWEEN_PARTS_S, parts.taken_s))
