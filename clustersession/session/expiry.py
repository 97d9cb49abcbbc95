"""Has attributes be gone when their time is over, and stay so.

Who finds that one is over has the replica delete it before anybody is told. So a clock that is set
back later brings nothing back, in no process of the host, and not after a restart either.
"""

from datetime import timedelta
from typing import Any

from clustersession.core.errors import ReplicaFull
from clustersession.core.reclaiming import is_told_by, next_expiry_ms, without_expired
from clustersession.core.state import SessionState
from clustersession.replica.results import Stored
from clustersession.session.context import SessionContext
from clustersession.session.events import note_events
from clustersession.wire.merging import MERGING

LONGEST_S = 100 * 366 * 86_400
"""No session lives as long; what is to count longer counts as long as its session."""


def until_ms(now_ms: int, expires_in: float | timedelta, value: Any) -> int:
    """Return until when a value is to count. Raises TypeError and ValueError."""
    if type(value) in MERGING:
        raise TypeError(
            f"a {type(value).__name__} merges element by element and cannot expire as a whole; "
            "give its session a lifetime, or set the plain type"
        )
    seconds: Any = expires_in
    if isinstance(expires_in, timedelta):
        seconds = expires_in.total_seconds()
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        kind = type(expires_in).__name__
        raise TypeError(f"expires_in must be seconds or a timedelta, not {kind}")
    if not seconds > 0:
        raise ValueError(f"expires_in must be above 0 seconds, not {seconds}")
    return now_ms + max(1, round(1000 * min(seconds, LONGEST_S)))


def present(context: SessionContext, key: str, state: SessionState) -> SessionState:
    """Return a copy without what has expired by now, and have the replica forget that."""
    now_ms = context.now_ms()
    if next_expiry_ms(state) > now_ms:
        return state
    spread = bool(context.settings.store)
    try:
        reclaimed = context.replica.reclaim(key, now_ms, spread=spread)
    except ReplicaFull:
        return without_expired(state, now_ms)
    if reclaimed.effective:
        if context.events and _tells(context, reclaimed.stored[0], spread=spread):
            note_events(context.events, reclaimed.stored)
        if spread:
            context.commits.feed_moved(reclaimed.head)
    newer = reclaimed.states[0]
    return without_expired(state if newer is None else newer, now_ms)


def _tells(context: SessionContext, stored: Stored, *, spread: bool) -> bool:
    route, serving = context.cluster.route, context.cluster.serving_routes()
    return context.settings.events == "everywhere" or is_told_by(
        route, stored, serving, spread=spread
    )


__all__ = ["present", "until_ms"]
