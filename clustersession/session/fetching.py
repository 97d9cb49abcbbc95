"""Takes a session from peers: one that is not here, or one that others have changed since."""

from clustersession.core.state import SessionState
from clustersession.session.authentic import Candidate
from clustersession.session.causal import Seen
from clustersession.session.cluster_port import NOTHING_MORE
from clustersession.session.context import SessionContext
from clustersession.session.in_use import keep_in_use
from clustersession.session.lifetimes import is_live
from clustersession.session.visit import IMPORTED_PREFIX, Visit

FETCHES_PER_REQUEST_MAX = 3
"""As many as an old cookie may have records, see ``session.legacy``."""


def fetch(visit: Visit) -> None:
    """Ask the peers for a missing session; bounded by ``fetch_timeout_s`` per id."""
    context = visit.context
    for candidate in visit.candidates[:FETCHES_PER_REQUEST_MAX]:
        key, seen = candidate.key, visit.seen.get(candidate.key)
        context.counters.fetches += 1
        if context.causal is None or not seen:
            context.cluster.fetch(key)
        else:
            with context.causal.wait(key, seen) as waits:
                wanted = _wanted(context, key, seen, waits)
                if wanted is not None:
                    context.cluster.fetch(key, wanted)
        # Whatever the peers said: the stream may have brought it meanwhile.
        if _take(visit, candidate):
            break
    visit.missing = False


async def fetch_async(visit: Visit) -> None:
    """Do what ``fetch`` does, without blocking the event loop."""
    context = visit.context
    for candidate in visit.candidates[:FETCHES_PER_REQUEST_MAX]:
        key, seen = candidate.key, visit.seen.get(candidate.key)
        context.counters.fetches += 1
        if context.causal is None or not seen:
            await context.cluster.fetch_async(key)
        else:
            with context.causal.wait(key, seen) as waits:
                wanted = _wanted(context, key, seen, waits)
                if wanted is not None:
                    await context.cluster.fetch_async(key, wanted)
        if _take(visit, candidate):
            break
    visit.missing = False


def newest(context: SessionContext, key: str) -> SessionState | None:
    """Return the newest copy of a stored session; None when no live one is known anywhere."""
    if context.cluster.contact.is_apart():
        context.cluster.fetch(key)
    state = _current(context, key)
    if state is None and context.cluster.fetch(key):
        state = _current(context, key)
    return state


async def newest_async(context: SessionContext, key: str) -> SessionState | None:
    """Do what ``newest`` does, without blocking the event loop while peers are asked."""
    if context.cluster.contact.is_apart():
        await context.cluster.fetch_async(key)
    state = _current(context, key)
    if state is None and await context.cluster.fetch_async(key):
        state = _current(context, key)
    return state


def _wanted(context: SessionContext, key: str, seen: Seen, waits: bool) -> Seen | None:
    """Return which writes to ask for: NOTHING_MORE for whether it has ended; None: ask nobody."""
    if waits or not is_live(context.replica.get(key), context.now_ms()):
        return seen
    return NOTHING_MORE if context.cluster.contact.is_apart() else None


def _take(visit: Visit, candidate: Candidate) -> bool:
    context = visit.context
    state = context.replica.get(candidate.key)
    now_ms = context.now_ms()
    is_record = candidate.key.startswith(IMPORTED_PREFIX)
    if is_record and state is not None:
        visit.legacy = candidate.key
    if state is None or not is_live(state, now_ms):
        visit.note_outdated(state, now_ms)
        return False
    state = keep_in_use(visit, candidate.key, state, now_ms)
    if state is None:
        return False
    context.counters.fetched += 1
    if is_record:
        # The client has no id of ours yet.
        visit.attach_record(candidate.identifier, candidate.key, state)
        return True
    visit.attach(candidate.identifier, candidate.key, state)
    visit.client = (candidate.identifier, candidate.route)
    return True


def _current(context: SessionContext, key: str) -> SessionState | None:
    """Return the copy as it is now, ended or not; None when peers may know of a newer one."""
    state = context.replica.get(key)
    expired = state is not None and state.ended is None and not is_live(state, context.now_ms())
    return None if expired else state
