"""Opens the session of a request, fetches it if need be, commits it, and answers the client."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from clustersession.core.ids import join_cookie
from clustersession.core.state import Change, SessionState
from clustersession.net.async_library import pause
from clustersession.replica.replica import Replica
from clustersession.session.authentic import Authenticator, Candidate
from clustersession.session.cluster_port import NOTHING_MORE, ClusterPort
from clustersession.session.context import SessionContext
from clustersession.session.cookie import CookieWriter
from clustersession.session.events import Events
from clustersession.session.fetching import fetch, fetch_async
from clustersession.session.in_use import keep_in_use, present_copy
from clustersession.session.legacy import legacy_cookies
from clustersession.session.lifetimes import Lifetimes, is_live, may_live_elsewhere
from clustersession.session.measuring import Trace
from clustersession.session.open_visits import OpenVisits, close, leave
from clustersession.session.outcome import NOTHING, VARY, Outcome, tell
from clustersession.session.routing import decide, route_for_new
from clustersession.session.seen import SeenTokens, seen_cookie_name
from clustersession.session.token import IdSigner
from clustersession.session.untouched import UntouchedSession, hide_emptiness
from clustersession.session.users import ClusterSessions
from clustersession.session.visit import Visit
from clustersession.session.writing import asks_nobody, save, save_async
from clustersession.settings.settings import Settings

IDS_PER_REQUEST_MAX = 10
"""Ids of one request that are looked up: a bound for a client that makes up headers."""


class SessionManager:
    """Opens and commits the sessions of one application in one process.

    permanent_lifetime_s, sliding: see ``lifetimes.Lifetimes``. trace: see ``session.measuring``.

    Attributes: all are set by the constructor and never again.
        context: what all visits share; ``settings``, ``replica``, ``counters``, ``events`` and
            ``now_ms`` are its own, under the same names, for adapters.
        cluster: the node's own, as it was given.
        open_visits: the visits whose requests are under way.
        legacy: reads the cookie of the store that sessions were imported from; None without one.
        seen_cookie_name: the second cookie, see ``session.seen``; empty: there is none.
        _own_route, _contact: the cluster's, which never change while a process runs.
        _authenticator: remembers which ids are authentic.
        _cookies, _seen_cookies: format the two cookies.
        _seen_tokens: makes and reads what stands in the second one.
    """

    def __init__(
        self,
        settings: Settings,
        replica: Replica,
        signer: IdSigner,
        cluster: ClusterPort,
        *,
        wall_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        permanent_lifetime_s: float = 0.0,
        sliding: bool = True,
        events: Events | None = None,
        pause_async: Callable[[float], Awaitable[object]] = pause,
        trace: Trace | None = None,
    ) -> None:
        self.context = SessionContext(
            settings, replica, signer, cluster, wall_ms, random_bytes,
            Lifetimes(settings, permanent_lifetime_s, sliding),
            Events() if events is None else events,
            pause_async, trace,
        )
        self.settings = settings
        self.replica = replica
        self.cluster = cluster
        self.counters = self.context.counters
        self.events = self.context.events
        self.now_ms = wall_ms
        self.open_visits = OpenVisits(self.context)
        self.legacy = legacy_cookies(settings, replica, signer, wall_ms)
        self.seen_cookie_name = seen_cookie_name(settings)
        self._own_route = cluster.route
        self._contact = cluster.contact
        # Here, because each request asks.
        self._sessions_leave = self.context.sessions_leave
        self._authenticator = Authenticator(signer)
        self._cookies = CookieWriter(settings)
        self._seen_cookies = CookieWriter(settings, self.seen_cookie_name)
        self._seen_tokens = SeenTokens(signer)

    # --- what a request asks, in this order -----------------------------------------------------

    def open(
        self,
        cookie_values: Sequence[str],
        header_value: str | None = None,
        seen_values: Sequence[str] = (),
        url_value: str | None = None,
        *,
        cookieless: bool = False,
    ) -> Visit:
        """Open the session of a request: the first authentic and known id counts, cookies first.

        ``seen_values`` are those of the cookie ``seen_cookie_name``, when that is not empty,
        ``url_value`` is the path parameter. ``cookieless``: the client brought no cookie at all and
        is no browser; only looked at where ids travel in a header, see ``requests.answer``.
        When the session is ``missing``, call ``fetch`` or ``fetch_async`` before the application
        sees it.
        """
        visit = Visit(self.context, UntouchedSession())
        if header_value is not None:
            visit.by_header = True
            visit.by_cookie = bool(cookie_values)
            cookie_values = (*cookie_values, header_value)
        elif cookieless:
            visit.by_header = True
        if url_value:
            cookie_values = (*cookie_values, url_value)
        if cookie_values:
            self._find(visit, cookie_values[:IDS_PER_REQUEST_MAX], seen_values)
        if not dict.__len__(visit.session):
            hide_emptiness(visit.session)
        return visit

    def _find(
        self, visit: Visit, cookie_values: Sequence[str], seen_values: Sequence[str]
    ) -> None:
        commits, now_ms = self.context.commits, self.now_ms()
        here: tuple[Candidate, ...] = ()
        for value in cookie_values:
            candidate = self._authenticator.candidate(value)
            if candidate is None:
                continue
            identifier, key, route = candidate
            if key in commits.owed_ends:
                continue
            state = self.replica.get(key)
            seen = self._seen(visit, key, seen_values) if seen_values else NOTHING_MORE
            if state is not None and is_live(state, now_ms):
                if self._contact.apart and self._contact.is_apart():
                    here += (candidate,)
                    continue
                visit.client = (identifier, route)
                if seen and self._lacks(key, state, seen):
                    visit.candidates = (candidate,)
                    visit.missing = True
                    return
                if self._sessions_leave:
                    state = keep_in_use(visit, key, state, now_ms)
                if state is not None:
                    visit.attach(identifier, key, state)
                    return
            if visit.client is None:
                visit.client = (identifier, route)
            if state is None or may_live_elsewhere(state, now_ms):
                visit.candidates += (candidate,)
            else:
                visit.note_outdated(state, now_ms)
        if here:
            # They may have ended elsewhere; as long as nobody says so, they come first.
            visit.client = here[0].identifier, here[0].route
            visit.candidates = here + visit.candidates
        visit.missing = bool(visit.candidates)

    def _seen(
        self, visit: Visit, key: str, seen_values: Sequence[str]
    ) -> Mapping[bytes, int]:
        if self.context.causal is None:
            return NOTHING_MORE
        seen = self._seen_tokens.decode(key, seen_values)
        if seen:
            visit.seen = {**visit.seen, key: seen}
        return seen

    def _lacks(self, key: str, state: SessionState, seen: Mapping[bytes, int]) -> bool:
        causal = self.context.causal
        return causal is not None and causal.lacks(key, state, seen)

    # Here, so that an adapter needs to know the manager alone.
    fetch, fetch_async = staticmethod(fetch), staticmethod(fetch_async)
    save, save_async = staticmethod(save), staticmethod(save_async)
    leave, close = staticmethod(leave), staticmethod(close)

    def owes_nothing(self, visit: Visit) -> bool:
        """Tell whether a request that changed nothing can be answered without a commit.

        What such a request may owe: the access, once the recorded one is too old; a cookie that has
        to name another node, or whose lifetime is to be renewed, or is to go; what it has seen of
        its own writes; an end that could not be stored before. Where any of that is possible the
        answer is no, and ``save`` finds out.
        """
        context = self.context
        if visit.touched or visit.wrote or context.commits.owed_ends or context.events.pending:
            return False
        if visit.legacy:
            return False
        stored, client, own = visit.stored, visit.client, self._own_route
        if stored is None:
            return not visit.missing
        lifetimes = context.lifetimes
        return (
            client is not None
            and client[1] == own
            and client[0] == visit.identifier
            and (stored.touch_due_ms is None or self.now_ms() < stored.touch_due_ms)
            and not (
                lifetimes.sliding
                and (lifetimes.cookies_have_lifetime or stored.outlives_browser)
            )
            and own in self.cluster.serving_routes()
        )

    def is_brief(self, visit: Visit) -> bool:
        """Tell whether ``save`` calls nobody, neither the application nor, but for ``ack``, others.
        """
        return not self.events and asks_nobody(visit)

    def commit(self, visit: Visit) -> Outcome:
        """Save before the response headers go out, and return what they need to say.

        Afterwards the visit is answered: no new id can reach the client any more. Changes made
        later are for ``save``.
        """
        if self.owes_nothing(visit):
            return self.answer_unchanged(visit)
        self.save(visit)
        return self.answer(visit)

    async def commit_async(self, visit: Visit) -> Outcome:
        """Do what ``commit`` does, without blocking the event loop while peers confirm."""
        if self.owes_nothing(visit):
            return self.answer_unchanged(visit)
        await self.save_async(visit)
        return self.answer(visit)

    def answer_unchanged(self, visit: Visit) -> Outcome:
        """Do what ``answer`` does, for a visit that ``owes_nothing``."""
        visit.answered = True
        return VARY if visit.session.accessed else NOTHING

    def answer(self, visit: Visit) -> Outcome:
        """Return what the response headers need to say, without saving; seals like ``commit``."""
        visit.answered = True
        outcome = self.session_cookie(visit)
        if self.legacy is not None:
            outcome = self.legacy.answer(visit, outcome)
        if self.context.causal is None or visit.mute:
            return outcome
        if visit.key is None:
            # Whatever cookie is set without a session is the one that deletes it.
            deleting = outcome.set_cookie is not None
            value = self._seen_cookies.delete() if deleting else None
        elif visit.wrote and visit.state and not self._ended_before_the_answer(visit):
            token = self._seen_tokens.encode(visit.key, visit.state)
            value = self._seen_cookies.assign(token, self._cookie_lifetime_s(visit))
        else:
            return outcome
        return outcome if value is None else outcome._replace(vary=True, set_seen_cookie=value)

    def session_cookie(self, visit: Visit) -> Outcome:
        """Return the session cookie, if the id is new, its route has to move or it is due.

        Afterwards ``visit.client`` is what the client will hold. An id that has ended meanwhile is
        never named: the client may hold a newer one by now.
        """
        nothing = VARY if visit.session.accessed else NOTHING
        identifier, key, client = visit.identifier, visit.key, visit.client
        if visit.mute:
            return nothing
        if identifier is None or key is None:
            if visit.removed and client is not None:
                visit.client = None
                return tell(visit, self._cookies.delete(), "")
            return nothing
        own, serving = self._own_route, self.cluster.serving_routes()
        if client is None or client[0] != identifier:
            route = client[1] if client is not None and client[1] in serving else None
            route = route or route_for_new(key, own, serving)
        elif client[1] == own and own in serving and not visit.refresh:
            return nothing
        else:
            decision = decide(self.settings.rewrite, key, client[1], own, serving)
            self.counters.strayed += decision.strayed
            self.counters.failovers += decision.failover
            if decision.route is None and not visit.refresh:
                return nothing
            route = decision.route or client[1] or own
        if self._ended_before_the_answer(visit):
            return nothing
        visit.client = (identifier, route)
        visit.refresh = False
        value = join_cookie(identifier, route)
        return tell(visit, self._cookies.assign(value, self._cookie_lifetime_s(visit)), value)

    def _ended_before_the_answer(self, visit: Visit) -> bool:
        """Tell whether a cookie that is due would name a session that is over; then none is set.

        What ends in the microseconds between this look and the answer nobody can see.
        """
        state = present_copy(visit)
        visit.discarded |= visit.key is not None and (state is None or state.ended is not None)
        return visit.discarded

    def _cookie_lifetime_s(self, visit: Visit) -> int:
        return self.context.lifetimes.cookie_lifetime_s(visit.state, self.now_ms())

    # --- what adapters with sessions of their own ask besides -----------------------------------

    def has_ended(self, visit: Visit) -> bool:
        """Tell whether the stored session has ended or expired in the meantime."""
        return visit.key is not None and not is_live(present_copy(visit), self.now_ms())

    def route_is_due(self, visit: Visit) -> bool:
        """Tell whether the client's cookie names a node that the next answer will not name."""
        client, key = visit.client, visit.key
        if client is None or key is None or visit.discarded:
            return False
        if client[0] != visit.identifier:
            return True
        own, serving = self._own_route, self.cluster.serving_routes()
        moves = decide(self.settings.rewrite, key, client[1], own, serving).route is not None
        return moves and not self._ended_before_the_answer(visit)

    def sessions(self) -> ClusterSessions:
        """Return what lists and ends users' sessions across the cluster."""
        return ClusterSessions(self.context)

    async def write_async(self, changes: Sequence[Change]) -> bool:
        """Commit changes that are of no visit, and wait for peers as ``ack`` asks.

        Where there is no space they are lost, and that is logged; ends are tried again. False:
        there was space, and none of them had an effect.
        """
        committed = self.context.commits.commit(changes, self.now_ms())
        if committed is not None and committed.effective:
            await self.context.commits.confirm_async(committed)
        return committed is None or committed.effective

    def write_unconfirmed(self, changes: Sequence[Change]) -> None:
        """Commit like ``write_async``, and wait for nobody."""
        committed = self.context.commits.commit(changes, self.now_ms())
        if committed is not None and committed.effective:
            self.context.commits.feed_moved(committed.head)
