"""Sees that no request misses its session, which may leave for the store while it is open.

Where there is space for it, it stays: whoever opens a session whose access is due records it then.
Where there is not, it leaves all the same, and is asked for again by a request that writes. While
the store is away, the copy that the request has stands in for it.
"""

from clustersession.core.state import Change, SessionState
from clustersession.session.lifetimes import access_is_stale, is_live
from clustersession.session.visit import Visit


def keep_in_use(visit: Visit, key: str, state: SessionState, now_ms: int) -> SessionState | None:
    """Return the session, its access recorded if that is due; None: it has just left.

    What leaves has not been used for longer (``node/near_cache.py``).
    """
    context = visit.context
    if not context.sessions_leave or not access_is_stale(state, now_ms):
        return state
    committed = context.commits.commit([Change(key, now_ms)], now_ms)
    if committed is None:
        return state
    context.commits.feed_moved(committed.head)
    # Judged now, because the access will not be old any more when the answer is made.
    lifetimes = context.lifetimes
    if lifetimes.sliding and lifetimes.renewal_is_due(state, state.accessed_ms, now_ms):
        visit.refresh = True
    return committed.states[0]


def those_that_left(visit: Visit) -> list[str]:
    """Return which sessions are to be asked for again before a visit writes to them.

    Others may have written to them since, and so may this node: what it writes next claims that.
    """
    context = visit.context
    if not context.sessions_leave:
        return []
    copies, now_ms = dict(visit.endings), context.now_ms()
    if visit.key is not None and not visit.discarded:
        copies[visit.key] = visit.state
    return [
        key for key, state in copies.items()
        if is_live(state, now_ms) and context.replica.get(key) is None
    ]


def copy_in_use(visit: Visit) -> SessionState | None:
    """Return what stands in for a session that has left; None where none leaves."""
    return visit.state if visit.context.sessions_leave else None


def present_copy(visit: Visit) -> SessionState | None:
    """Return the session of a visit as it is here, or as the visit has it when it has left."""
    state = None if visit.key is None else visit.context.replica.get(visit.key)
    return copy_in_use(visit) if state is None else state
