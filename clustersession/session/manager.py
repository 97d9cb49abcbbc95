"""The framework-neutral life of a session in one request: open, perhaps fetch, commit, answer."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from clustersession.core.counters import Counters
from clustersession.core.ids import join_cookie
from clustersession.core.state import Change, SessionState
from clustersession.replica.protocol import Replica
from clustersession.session.authentic import Authenticator, Candidate
from clustersession.session.causal import CausalReads
from clustersession.session.cluster_port import ClusterPort
from clustersession.session.commits import SessionWriter, is_live
from clustersession.session.cookie import CookieWriter
from clustersession.session.events import Events
from clustersession.session.legacy import legacy_cookies
from clustersession.session.outcome import NOTHING, VARY, Outcome, tell
from clustersession.session.registers import may_live_elsewhere
from clustersession.session.routing import decide, route_for_new
from clustersession.session.seen import decode_seen, encode_seen, seen_cookie_name
from clustersession.session.session import Session
from clustersession.session.stored import stored_attributes
from clustersession.session.token import IdSigner
from clustersession.session.untouched import UntouchedSession
from clustersession.session.users import ClusterSessions
from clustersession.session.warnings import Complaints
from clustersession.session.watch import SessionChange, watch
from clustersession.settings.settings import Settings

FETCHES_PER_REQUEST_MAX = 2

IDS_PER_REQUEST_MAX = 10
"""Ids of one request that are looked up: a bound for a client that makes up headers."""


class SessionManager:
    """Opens and commits the sessions of one process.

    permanent_lifetime_s: idle timeout of sessions made permanent; 0: the same as of others.
    sliding: read-only requests renew a cookie that has a lifetime, at most once in a quarter of it.
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
    ) -> None:
        self.settings = settings
        self.replica = replica
        self.cluster = cluster
        self._own_route = cluster.route
        self.counters = Counters()
        self.events = Events() if events is None else events
        self.now_ms = wall_ms
        self._authenticator = Authenticator(signer)
        self._cookies = CookieWriter(settings)
        self.seen_cookie_name = seen_cookie_name(settings)
        self._causal: CausalReads | None = None
        if settings.consistency == "causal":
            self._causal = CausalReads(settings, replica, self.counters)
        self.legacy = legacy_cookies(settings, replica, signer, wall_ms)
        self._seen_cookies = CookieWriter(settings, self.seen_cookie_name)
        self._permanent_lifetime_s = permanent_lifetime_s
        self._bytes_max = settings.attribute_bytes_max
        self._complaints = Complaints(settings, self.counters, wall_ms)
        self._writer = SessionWriter(
            settings, replica, signer, self.counters, wall_ms, random_bytes,
            self.idle_timeout_s_for, cluster.notify, self.events, sliding,
        )

    def open(
        self,
        cookie_values: Sequence[str],
        header_value: str | None = None,
        seen_values: Sequence[str] = (),
        url_value: str | None = None,
        *,
        cookieless: bool = False,
    ) -> Session:
        """The session of a request: the first authentic and known id counts, cookies first.

        ``seen_values`` are those of the cookie ``seen_cookie_name``, when that is not empty,
        ``url_value`` is the path parameter. ``cookieless``: the client brought no cookie at all and
        is no browser; only looked at where ids travel in a header, see ``requests.answer``.
        When ``session.missing``, call ``fetch`` or ``fetch_async`` before the application sees it.
        """
        session = UntouchedSession(self, self._bytes_max)
        if header_value is not None:
            session.by_header = True
            session.by_cookie = bool(cookie_values)
            cookie_values = (*cookie_values, header_value)
        elif cookieless:
            session.by_header = True
        if url_value:
            cookie_values = (*cookie_values, url_value)
        if not cookie_values:
            return session
        now_ms = self.now_ms()
        for value in cookie_values[:IDS_PER_REQUEST_MAX]:
            candidate = self._authenticator.candidate(value)
            if candidate is None:
                continue
            identifier, key, route = candidate
            if self._writer.owes_end(key):
                continue
            state = self.replica.get(key)
            if seen_values and session.seen is None and self._causal is not None:
                session.seen = decode_seen(seen_values[0])
            if state is not None and is_live(state, now_ms):
                session.client = (identifier, route)
                if session.seen and self._lacks(key, state, session.seen):
                    session.candidates = (candidate,)
                    session.missing = True
                    return session
                session.attach(identifier, key, state)
                return session
            if session.client is None:
                session.client = (identifier, route)
            if state is None or may_live_elsewhere(state, now_ms):
                session.candidates += (candidate,)
        session.missing = bool(session.candidates)
        return session

    def owes_nothing(self, session: Session) -> bool:
        """Whether a request that changed nothing can be answered without a commit.

        What such a request may owe: the access, once the recorded one is too old; a cookie that has
        to name another node, or whose lifetime is to be renewed, or is to go; what it has seen of
        its own writes; an end that could not be stored before. Where any of that is possible the
        answer is no, and ``commit`` finds out.
        """
        if session.touched or session.wrote or self._writer.owes_ends or self.events.pending:
            return False
        if self.legacy is not None and self.legacy.noted(session):
            return False
        state, client = session.state, session.client
        if state is None:
            return not session.missing
        stored = stored_attributes(state)
        own = self._own_route
        return (
            client is not None
            and client[1] == own
            and client[0] == session.sid
            and (stored.touch_due_ms is None or self.now_ms() < stored.touch_due_ms)
            and not self._writer.may_renew(session)
            and own in self.cluster.serving_routes()
        )

    def fetch(self, session: Session) -> None:
        """Ask the peers for a missing session; bounded by ``fetch_timeout_s`` per id."""
        causal, seen = self._causal, session.seen
        for candidate in session.candidates[:FETCHES_PER_REQUEST_MAX]:
            self.counters.fetches += 1
            if causal is None or not seen:
                found = self.cluster.fetch(candidate[1])
            else:
                deadline_s = causal.deadline_s()
                found = self.cluster.fetch(candidate[1])
                causal.wait(candidate[1], seen, deadline_s if found else 0.0)
            # Whatever the peers said: the stream may have brought it meanwhile.
            if self._adopt(session, candidate):
                break
        session.missing = False

    async def fetch_async(self, session: Session) -> None:
        """``fetch`` without blocking the event loop."""
        causal, seen = self._causal, session.seen
        for candidate in session.candidates[:FETCHES_PER_REQUEST_MAX]:
            self.counters.fetches += 1
            if causal is None or not seen:
                found = await self.cluster.fetch_async(candidate[1])
            else:
                deadline_s = causal.deadline_s()
                found = await self.cluster.fetch_async(candidate[1])
                await causal.wait_async(candidate[1], seen, deadline_s if found else 0.0)
            if self._adopt(session, candidate):
                break
        session.missing = False

    def reload(self, session: Session) -> bool:
        """Take over what others wrote; False when the session has ended."""
        if session.key is None or session.discarded:
            return not session.discarded
        state = self._current(session.key)
        if state is None and self.cluster.fetch(session.key):
            state = self._current(session.key)
        return _take_newer(session, state)

    async def areload(self, session: Session) -> bool:
        """``reload`` without blocking the event loop while peers are asked."""
        if session.key is None or session.discarded:
            return not session.discarded
        state = self._current(session.key)
        if state is None and await self.cluster.fetch_async(session.key):
            state = self._current(session.key)
        return _take_newer(session, state)

    def save(self, session: Session) -> None:
        """Write what changed and wait for peers as ``ack`` asks.

        Raises UnserializableValue, SessionTooLarge, and ReplicationFailed if so configured.
        """
        head = self._writer.write(session)
        try:
            if head:
                self.confirm(head)
        finally:
            if self.events.pending:
                self.events.deliver()

    async def asave(self, session: Session) -> None:
        """``save`` without blocking the event loop while peers confirm."""
        head = self._writer.write(session)
        try:
            if head:
                await self.confirm_async(head)
        finally:
            if self.events.pending:
                await self.events.deliver_async()

    def confirm(self, head: int) -> None:
        """Wait for peers as ``ack`` asks. Raises ReplicationFailed if so configured."""
        if self.settings.ack == "none":
            self.cluster.notify(head)
        elif not self.cluster.confirm(head):
            self._complaints.unconfirmed()

    async def confirm_async(self, head: int) -> None:
        """``confirm`` without blocking the event loop."""
        if self.settings.ack == "none":
            self.cluster.notify(head)
        elif not await self.cluster.confirm_async(head):
            self._complaints.unconfirmed()

    def write(self, changes: Sequence[Change]) -> None:
        """Commit changes that are not of a session in a request; nobody waits for peers.

        Where there is no space they are lost, and that is logged; ends are tried again.
        """
        committed = self._writer.commit(changes, self.now_ms())
        if committed is not None and committed.effective:
            self.cluster.notify(committed.head)

    async def write_async(self, changes: Sequence[Change]) -> None:
        """``write``, and wait for peers as ``ack`` asks."""
        committed = self._writer.commit(changes, self.now_ms())
        if committed is not None and committed.effective:
            await self.confirm_async(committed.head)

    @property
    def longest_life_s(self) -> float:
        """The longest lifetime that a session may ask for."""
        return self.settings.longest_life_s

    def watch(self, session: Session) -> AsyncIterator[SessionChange]:
        """Changes of a session made anywhere; see ``Session.watch``."""
        return watch(session, self.replica, self.cluster, self.now_ms)

    def sessions(self) -> ClusterSessions:
        """Users' sessions across the cluster."""
        return ClusterSessions(
            self.replica, self.settings, self.cluster.route, self, self.now_ms, self.events
        )

    def commit(self, session: Session) -> Outcome:
        """``save`` before the response headers go out, and what they need to say.

        Afterwards the session is sealed: no new id can reach the client any more. Changes made
        later are for ``save``.
        """
        if self.owes_nothing(session):
            return self.answer_unchanged(session)
        self.save(session)
        return self.answer(session)

    async def commit_async(self, session: Session) -> Outcome:
        """``commit`` without blocking the event loop while peers confirm."""
        if self.owes_nothing(session):
            return self.answer_unchanged(session)
        await self.asave(session)
        return self.answer(session)

    def answer_unchanged(self, session: Session) -> Outcome:
        """``answer`` of a session that ``owes_nothing``."""
        session.sealed = True
        return VARY if session.accessed else NOTHING

    def answer(self, session: Session) -> Outcome:
        """What the response headers need to say, without committing; seals like ``commit``."""
        session.sealed = True
        outcome = self.place(session)
        if self.legacy is not None:
            outcome = self.legacy.answer(session, outcome)
        if self._causal is None or session.discarded:
            return outcome
        if session.key is None:
            # Whatever cookie is set without a session is the one that deletes it.
            deleting = outcome.set_cookie is not None
            value = self._seen_cookies.delete() if deleting else None
        elif session.wrote and session.state is not None:
            lifetime_s = self._writer.cookie_lifetime_s(session)
            value = self._seen_cookies.assign(encode_seen(session.state), lifetime_s)
        else:
            return outcome
        return outcome if value is None else outcome._replace(vary=True, set_seen_cookie=value)

    def has_ended(self, session: Session) -> bool:
        """Whether the stored session behind this one has ended or expired in the meantime."""
        key = session.key
        return key is not None and not is_live(self.replica.get(key), self.now_ms())

    def route_is_due(self, session: Session) -> bool:
        """Whether the client's cookie names a node that the next answer will not name any more."""
        client, key = session.client, session.key
        if client is None or key is None or session.discarded:
            return False
        if client[0] != session.sid:
            return True
        own, serving = self._own_route, self.cluster.serving_routes()
        return decide(self.settings.rewrite, key, client[1], own, serving).route is not None

    def idle_timeout_s_for(self, permanent: bool) -> float:
        """The idle timeout of a session that asks for none itself, in seconds."""
        if permanent and self._permanent_lifetime_s:
            return self._permanent_lifetime_s
        return self.settings.idle_timeout_s

    def undecodable(self, key: str, name: str, error: Exception) -> None:
        """Count, and log once, an attribute that cannot be read; the others survive it."""
        self._complaints.undecodable(key, name, error)

    def _current(self, key: str) -> SessionState | None:
        """The copy as it is now, ended or not; None when peers may know of a newer one."""
        state = self.replica.get(key)
        expired = state is not None and state.ended is None and not is_live(state, self.now_ms())
        return None if expired else state

    def _lacks(self, key: str, state: SessionState, seen: Mapping[bytes, int]) -> bool:
        return self._causal is not None and self._causal.lacks(key, state, seen)

    def _adopt(self, session: Session, candidate: Candidate) -> bool:
        identifier, key, route = candidate
        state = self.replica.get(key)
        if state is None or not is_live(state, self.now_ms()):
            return False
        self.counters.fetched += 1
        session.attach(identifier, key, state)
        session.client = (identifier, route)
        return True

    def place(self, session: Session) -> Outcome:
        """The session cookie: only when the id is new, its route has to move or it is due.

        Afterwards ``session.client`` is what the client will hold.
        """
        nothing = VARY if session.accessed else NOTHING
        identifier, key, client = session.sid, session.key, session.client
        if session.discarded:
            return nothing
        if identifier is None or key is None:
            if session.removed and client is not None:
                session.client = None
                return tell(session, self._cookies.delete(), "")
            return nothing
        own, serving = self._own_route, self.cluster.serving_routes()
        if client is None or client[0] != identifier:
            route = client[1] if client is not None and client[1] in serving else None
            route = route or route_for_new(key, own, serving)
        elif client[1] == own and own in serving and not session.refresh:
            return nothing
        else:
            decision = decide(self.settings.rewrite, key, client[1], own, serving)
            self.counters.strayed += decision.strayed
            self.counters.failovers += decision.failover
            if decision.route is None and not session.refresh:
                return nothing
            route = decision.route or client[1] or own
        session.client = (identifier, route)
        session.refresh = False
        lifetime_s = self._writer.cookie_lifetime_s(session)
        value = join_cookie(identifier, route)
        return tell(session, self._cookies.assign(value, lifetime_s), value)


def _take_newer(session: Session, state: SessionState | None) -> bool:
    if state is None or state.ended is not None:
        session.lose()
        return False
    session.take_newer(state)
    return True
