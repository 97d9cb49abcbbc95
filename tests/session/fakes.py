"""A replica of a few lines, a clock to set and a cluster to script."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from clustersession.core.errors import ReplicaFull
from clustersession.core.ids import KEY_LENGTH
from clustersession.core.reclaiming import without_expired
from clustersession.core.state import Change, SessionState, apply_change, expires_ms, principal_of
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.replica.results import Committed, Stored
from clustersession.session.cluster_port import NOTHING_MORE
from clustersession.session.manager import SessionManager
from clustersession.session.outcome import Outcome
from clustersession.session.session import Session
from clustersession.session.token import IdSigner
from clustersession.session.visit import visit_of
from clustersession.settings.settings import Settings

SECRETS = (b"a secret of at least 16 characters",)


class FakeReplica:
    """Commit and get over a dict."""

    def __init__(self) -> None:
        self.node = b"nodenode"
        self.states: dict[str, SessionState] = {}
        self.commits: list[Sequence[Change]] = []
        self.gets: list[str] = []
        self.full = self.takes_ends_only = False
        self._head = 0

    def get(self, key: str) -> SessionState | None:
        self.gets.append(key)
        return self.states.get(key)

    def commit(self, changes: Sequence[Change], wall_ms: int) -> Committed:
        if self.full or (self.takes_ends_only and any(c.end is None for c in changes)):
            raise ReplicaFull("the test says so")
        self.commits.append(changes)
        results: list[SessionState | None] = []
        stored: list[Stored] = []
        for change in changes:
            current = self.states.get(change.key) or change.held
            if current is not None and wall_ms > expires_ms(current):
                results.append(None)
                continue
            state = apply_change(
                current, change, time=(wall_ms << 16) + self._head, node=self.node,
                seq=self._head + 1,
            )
            if state is not None:
                self._head += 1
                self.states[change.key] = state
                stored.append((change.key, current, state))
            results.append(state)
        return Committed(self._head, results, stored)

    def reclaim(self, key: str, wall_ms: int, *, spread: bool) -> Committed:
        if self.full:
            raise ReplicaFull("the test says so")
        before = self.states.get(key)
        if before is None or (after := without_expired(before, wall_ms)) is before:
            return Committed(self._head, [None])
        self.states[key] = after
        return Committed(self._head, [after], [(key, before, after)])

    def sessions_of(self, principal: str) -> list[tuple[str, SessionState]]:
        return [(k, s) for k, s in self.states.items() if principal_of(s) == principal]

    def close(self) -> None:
        pass


class FakeContact:
    """Says whether the node is apart as told."""

    apart = False

    def is_apart(self) -> bool:
        return self.apart


class FakeCluster:
    """A cluster that confirms, fetches and serves as told."""

    def __init__(self, route: str = "a", serving: tuple[str, ...] = ("a",)) -> None:
        self.route = route
        self.serving = frozenset(serving)
        self.confirms = True
        self.confirmed: list[int] = []
        self.feed_heads: list[int] = []
        self.fetched: list[str] = []
        self.gathered: list[str] = []
        self.ends_confirmed: list[int] = []
        self.wanted: list[Mapping[bytes, int]] = []
        self.elsewhere: dict[str, SessionState] = {}
        self.replica: FakeReplica | None = None
        self.contact = FakeContact()

    def serving_routes(self) -> frozenset[str]:
        return self.serving

    def confirm(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        self.confirmed.append(head)
        self.ends_confirmed += [head] if ends else []
        return self.confirms

    async def confirm_async(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        return self.confirm(head, stored, ends=ends)

    def fetch(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        self.fetched.append(key)
        self.wanted.append(wanted)
        if key in self.elsewhere and self.replica is not None:
            self.replica.states[key] = self.elsewhere[key]
        return key in self.elsewhere

    def gather(self, principal: str) -> bool:
        self.gathered.append(principal)
        return True

    async def gather_async(self, principal: str) -> bool:
        return self.gather(principal)

    async def fetch_async(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        return self.fetch(key, wanted)

    def feed_moved(self, head: int) -> None:
        self.feed_heads.append(head)

    async def subscribe(self, key: str, wake: Any) -> None:
        return None


class World:
    """A manager with everything around it within reach."""

    def __init__(self, **options: Any) -> None:
        own = ("permanent_lifetime_s", "sliding", "trace")
        extra = {name: options.pop(name) for name in own if name in options}
        self.now_ms = 1_700_000_000_000
        self.replica = FakeReplica()
        self.cluster = FakeCluster()
        self.cluster.replica = self.replica
        self._drawn = 0
        self.signer = IdSigner(SECRETS)
        self.manager = SessionManager(
            Settings(**options), cast("Replica", self.replica), self.signer, self.cluster,
            wall_ms=lambda: self.now_ms, random_bytes=self._random, **extra,
        )

    def _random(self, count: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(count, "big")

    def use(self, replica: Any) -> None:
        """Have the manager work on another replica."""
        context = self.manager.context
        self.manager.replica = context.replica = context.writer._replica = replica

    # The manager's methods, for tests that look at nothing but the session.

    def open(self, *arguments: Any, **keywords: Any) -> Session:
        return cast("Session", self.manager.open(*arguments, **keywords).session)

    def fetch(self, session: Session) -> None:
        self.manager.fetch(visit_of(session))

    async def fetch_async(self, session: Session) -> None:
        await self.manager.fetch_async(visit_of(session))

    def owes_nothing(self, session: Session) -> bool:
        return self.manager.owes_nothing(visit_of(session))

    def commit(self, session: Session) -> Outcome:
        return self.manager.commit(visit_of(session))

    async def commit_async(self, session: Session) -> Outcome:
        return await self.manager.commit_async(visit_of(session))

    def save(self, session: Session) -> None:
        self.manager.save(visit_of(session))

    def answer(self, session: Session) -> Outcome:
        return self.manager.answer(visit_of(session))

    def store(self, **values: Any) -> str:
        """A stored session; returns its cookie value."""
        session = self.open([])
        session.update(values)
        header = self.commit(session).set_cookie
        assert header is not None
        return cookie_of(header)


def cookie_of(set_cookie: str) -> str:
    """The value in a Set-Cookie header."""
    return set_cookie.partition(";")[0].partition("=")[2]


class Users(World):
    """A world over a replica in memory, because only that one carries a revocation out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        memory: Any = open_memory(b"nodenode", clock_skew_ms_max=300_000)
        self.memory = self.replica = memory
        self.use(memory)

    def login(self, user: str = "ann") -> str:
        self.now_ms += 1000
        session = super().open([])
        session.principal = user
        return self.answer(session)

    def answer(self, session: Session) -> str:
        header = self.commit(session).set_cookie
        assert header is not None
        return cookie_of(header)

    def open(self, cookies: str | list[str]) -> Session:  # type: ignore[override]
        return super().open([cookies] if isinstance(cookies, str) else cookies)

    def is_alive(self, cookie: str) -> bool:
        return not self.open(cookie).new


def token_of_lost_writes(manager: SessionManager, cookie: str) -> str:
    """A second cookie of that session, which names writes that nobody has any more."""
    lost = SessionState(0, 0, 0, {}, {b"peerpeer": 5})
    return manager._seen_tokens.encode(cookie[:KEY_LENGTH], lost)
