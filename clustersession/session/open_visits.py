"""Keeps sessions alive for as long as a request is open: a download, an upload, a websocket.

An access is recorded when a request is answered, and one that lasts longer than the idle timeout
would find its user logged out. So for whoever is open for long accesses are recorded meanwhile, as
often as for reads, and the end of a request is an access as well, as in Tomcat. A session that has
ended or expired stays so, and nobody lives beyond the deadline.
"""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from weakref import ref

from clustersession.core.errors import ReplicaError
from clustersession.core.state import Change, access_coarseness_ms, idle_timeout_ms
from clustersession.session.context import SessionContext
from clustersession.session.in_use import present_copy
from clustersession.session.lifetimes import is_live
from clustersession.session.stored import stored_attributes
from clustersession.session.visit import Visit
from clustersession.session.writing import touch

CHANGES_PER_COMMIT = 200
"""Requests that write must not wait for a commit of all accesses of a busy process."""

LOOK_MS_MIN = 50
LOOK_MS_MAX = 500
"""How often to look; sessions with an idle timeout of their own may have a short one."""

OPENED_MAX = 100_000
"""Requests between two looks: a bound where nobody looks, such as under uWSGI without threads."""


class OpenVisits:
    """Lists the visits of one manager whose requests are open.

    Most requests are over before anybody looks, so opening one costs as little as can be. A visit
    that nobody holds any more goes by itself.

    Attributes:
        on_first: called once, when the first request is opened; None before and after.
        _opened: those opened since the last look, whether or not they are over.
        _long: those that were open at the last look.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._opened: deque[ref[Visit]] = deque(maxlen=OPENED_MAX)
        self._long: list[ref[Visit]] = []
        self.on_first: Callable[[], None] | None = None

    def add(self, visit: Visit) -> None:
        """Note that the request of a visit is open, until ``leave`` or ``close``."""
        visit.is_open = True
        self._opened.append(ref(visit))
        if self.on_first is not None:
            start, self.on_first = self.on_first, None
            start()

    @property
    def look_interval_s(self) -> float:
        """Return how long to wait between two calls of ``record_accesses``."""
        coarse_ms = access_coarseness_ms(round(self._context.settings.idle_timeout_s * 1000))
        return min(max(coarse_ms or LOOK_MS_MAX, LOOK_MS_MIN), LOOK_MS_MAX) / 1000

    def record_accesses(self) -> None:
        """Record what is owed to visits that were open at the last call too; nobody waits.

        Raises ReplicaError, but not for want of space.
        """
        context = self._context
        now_ms = context.now_ms()
        changes = owed_accesses(self._take_long(), now_ms)
        for change in changes:
            if context.replica.get(change.key) is None:
                # It has left for the store, and comes back to be kept alive there.
                context.cluster.fetch(change.key)
        for first in range(0, len(changes), CHANGES_PER_COMMIT):
            part = changes[first : first + CHANGES_PER_COMMIT]
            committed = context.commits.commit(part, now_ms)
            if committed is None:
                return
            if committed.effective:
                context.counters.touches += len(committed.stored)
                context.commits.feed_moved(committed.head)

    def _take_long(self) -> list[Visit]:
        """Return the visits that are no short requests which only happen to be open now."""
        still = [reference for reference in self._long if _is_open(reference)]
        visits = [visit for reference in still if (visit := reference()) is not None]
        # More may be opened meanwhile, in other threads.
        for _ in range(len(self._opened)):
            reference = self._opened.popleft()
            visit = reference()
            if visit is not None and visit.is_open:
                visit.is_long = True
                still.append(reference)
        self._long = still
        return visits


def _is_open(reference: "ref[Visit]") -> bool:
    visit = reference()
    return visit is not None and visit.is_open


def owed_accesses(visits: Iterable[Visit], now_ms: int) -> list[Change]:
    """Return which accesses are to be recorded now, one for each session of open visits.

    Notes in each visit when it is to be looked at again.
    """
    owed: dict[str, Change] = {}
    for visit in visits:
        # The request is under way, maybe in another thread: each note is read once.
        key, stored = visit.key, visit.stored
        if key is None or stored is None or stored.touch_due_ms is None:
            continue
        if now_ms < max(stored.touch_due_ms, visit.recorded_until_ms):
            continue
        state = present_copy(visit)
        if state is None or not is_live(state, now_ms):
            continue
        due_ms = stored_attributes(state).touch_due_ms
        if due_ms is not None and now_ms >= due_ms:
            owed[key] = Change(key, now_ms)
            due_ms = now_ms + max(access_coarseness_ms(idle_timeout_ms(state)), 1)
        visit.recorded_until_ms = due_ms or 0
    return list(owed.values())


def close(visit: Visit) -> None:
    """End a visit with its request; adapters do so last of all, whatever has happened."""
    # Not by ``leave``: this is part of what every request costs.
    if visit.is_open:
        visit.is_open = False
        if visit.is_long:
            _record_end(visit)
    visit.release()


def leave(visit: Visit) -> None:
    """Note that the request of a visit is over, whose session somebody may still look at."""
    if visit.is_open:
        visit.is_open = False
        if visit.is_long:
            _record_end(visit)


def _record_end(visit: Visit) -> None:
    """Record an access if the last one is too old. A short request has done so when it answered."""
    stored = visit.stored
    if stored is None or stored.touch_due_ms is None or visit.discarded:
        return
    now_ms = visit.context.now_ms()
    if now_ms >= stored.touch_due_ms and now_ms >= visit.recorded_until_ms:
        # The response has gone, and the session only counts as a little older than it is.
        with suppress(ReplicaError):
            touch(visit, now_ms)
