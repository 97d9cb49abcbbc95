"""Lists who is logged in where, and ends users' sessions across the cluster.

What is listed is what this node holds, which is what the cluster holds but for what is under way.
With a store, what is only there is brought here first; while the store is away the list is this
node's.
``end_all`` also ends what this node has not heard of, see ``core.revocation``.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from hashlib import sha256
from typing import NamedTuple

from clustersession.core.revocation import revoke
from clustersession.core.state import (
    ENDED_REVOKED,
    LOGIN,
    PRINCIPAL,
    Change,
    SessionState,
    expires_ms,
)
from clustersession.core.transitions import PRINCIPAL_ENDED
from clustersession.replica.replica import Replica
from clustersession.replica.results import Committed, Stored
from clustersession.replica.sweeping import BETWEEN_PARTS_S, end_revoked_in_parts
from clustersession.session.context import SessionContext
from clustersession.session.events import (
    Event,
    Events,
    Writer,
    commit_with_events,
    note_events,
)
from clustersession.session.label import label_of
from clustersession.session.lifetimes import utc
from clustersession.session.visit import SessionDict, Visit, visit_of
from clustersession.settings.settings import Settings

HANDLE_LENGTH = 32
NAME_LENGTH = 8


@dataclass(frozen=True, slots=True)
class SessionView:
    """Shows one session of a user, without anything that would let one use it.

    handle: 32 hexadecimal digits that name the session, for forms and links. name: the first 8,
    as in logs. node: the node that wrote last, 8 hexadecimal digits as in ``clustersession
    status``; route: of that node, None when it is not this one. current: it is the session that was
    given as such. label: what the application noted of its device, None without a note.
    """

    handle: str
    principal: str
    created: datetime
    last_access: datetime
    expires: datetime
    node: str
    route: str | None
    current: bool
    label: str | None
    _key: str = field(repr=False)

    @property
    def name(self) -> str:
        """Return the session's name in logs."""
        return self.handle[:NAME_LENGTH]


class ClusterSessions:
    """Lists and ends the sessions of users, on all nodes."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context

    def sessions_of(
        self, principal: str | int, *, current: SessionDict | None = None
    ) -> list[SessionView]:
        """Return the live sessions of a user, the last used first.

        With a store they are brought here for it, which takes ``fetch_timeout_s`` at most; without
        an answer the list has those that this node holds.
        """
        user = principal_text(principal)
        self._context.cluster.gather(user)
        return self._views(user, current)

    async def asessions_of(
        self, principal: str | int, *, current: SessionDict | None = None
    ) -> list[SessionView]:
        """Do what ``sessions_of`` does, without blocking the event loop while the store is asked.
        """
        user = principal_text(principal)
        await self._context.cluster.gather_async(user)
        return self._views(user, current)

    def _views(self, user: str, current: SessionDict | None) -> list[SessionView]:
        current_key = None if current is None else _read(current).key
        views = [
            self._view(key, state, user, current_key) for key, state in self._live_sessions(user)
        ]
        return sorted(views, key=lambda view: view.last_access, reverse=True)

    def end(self, session: SessionView | str, principal: str | int | None = None) -> bool:
        """End one session everywhere; return whether it was there to be ended.

        session: what ``sessions_of`` gave, or with the principal its handle or name. Raises
        ValueError for a name that fits several sessions of the user; ReplicaFull, and then nothing
        has been ended.
        """
        self._context.cluster.gather(_user_of(session, principal))
        head = self._end([self._key_of(session, principal)])
        self._confirm(head)
        return head > 0

    async def aend(self, session: SessionView | str, principal: str | int | None = None) -> bool:
        """Do what ``end`` does, without blocking the event loop while peers confirm."""
        await self._context.cluster.gather_async(_user_of(session, principal))
        head = self._end([self._key_of(session, principal)])
        await self._confirm_async(head)
        return head > 0

    def end_all(self, principal: str | int, *, except_current: SessionDict | None = None) -> int:
        """End all sessions of a user everywhere, but one if given; return how many were known.

        A session that began before this call and that this node does not know of, such as one
        behind a partition, ends where the two meet. A session that begins later is not touched.
        Raises ReplicaFull, and then nothing has been ended.
        """
        user = principal_text(principal)
        self._context.cluster.gather(user)
        done = self._end_all(user, except_current)
        further = end_the_rest(self._context.replica, self._context.events)
        self._confirm(done.head)
        return done.ended + further

    async def aend_all(
        self, principal: str | int, *, except_current: SessionDict | None = None
    ) -> int:
        """Do what ``end_all`` does, without blocking the event loop while peers confirm."""
        user = principal_text(principal)
        await self._context.cluster.gather_async(user)
        done = self._end_all(user, except_current)
        ended = done.ended
        for further in end_revoked(self._context.replica, self._context.events):
            ended += further
            await self._context.pause_async(BETWEEN_PARTS_S)
        await self._confirm_async(done.head)
        return ended

    def _confirm(self, head: int) -> None:
        try:
            if head:
                self._context.commits.confirm(Committed(head, ()), ends=True)
        finally:
            self._context.events.deliver()

    async def _confirm_async(self, head: int) -> None:
        try:
            if head:
                await self._context.commits.confirm_async(Committed(head, ()), ends=True)
        finally:
            await self._context.events.deliver_async()

    def _live_sessions(self, user: str) -> list[tuple[str, SessionState]]:
        now_ms = self._context.now_ms()
        found = self._context.replica.sessions_of(user)
        return [(key, state) for key, state in found if now_ms <= expires_ms(state)]

    def _view(
        self, key: str, state: SessionState, user: str, current_key: str | None
    ) -> SessionView:
        node = last_writer(state)
        return SessionView(
            handle_of(key), user, utc(state.created_ms), utc(state.accessed_ms),
            utc(expires_ms(state)), node.hex()[:NAME_LENGTH],
            self._context.cluster.route if node == self._context.replica.node else None,
            key == current_key, label_of(state), key,
        )

    def _key_of(self, session: SessionView | str, principal: str | int | None) -> str | None:
        if isinstance(session, SessionView):
            return session._key
        user = _user_of(session, principal)
        return find_by_handle(session, [k for k, _ in self._live_sessions(user)])

    def _end(self, keys: Sequence[str | None]) -> int:
        now_ms = self._context.now_ms()
        changes = [Change(k, now_ms, end=ENDED_REVOKED) for k in keys if k is not None]
        committed = commit_with_events(self._context.writer, self._context.events, changes, now_ms)
        return committed.head if committed.effective else 0

    def _end_all(self, user: str, spared: SessionDict | None) -> "Revoked":
        context = self._context
        visit = None if spared is None else _read(spared)
        spared_key = (None if visit is None else visit.key) or ""
        done = revoke_all(
            context.writer, context.events, context.settings, user, context.now_ms(), spared_key
        )
        if visit is not None and done.spared is not None:
            visit.replace_state(done.spared)
        return done


def _user_of(session: SessionView | str, principal: str | int | None) -> str:
    if isinstance(session, SessionView):
        return session.principal
    if principal is None:
        raise ValueError("a handle or name needs the principal whose session it is")
    return principal_text(principal)


def _read(session: SessionDict) -> Visit:
    session.accessed = True
    return visit_of(session)


class Revoked(NamedTuple):
    """Holds what was committed: the feed's head, how many sessions ended, the spared one's copy.

    More may be left for ``end_revoked``.
    """

    head: int
    ended: int
    spared: SessionState | None


def revoke_all(
    writer: Writer, events: Events, settings: Settings, user: str, now_ms: int,
    spared_key: str = "",
) -> Revoked:
    """Commit the revocation, which ends all sessions of a user but one, also those unknown here."""
    kept_ms = round(1000 * (settings.longest_life_s + settings.clock_skew_s_max))
    changes = [revoke(user, spared_key, now_ms, kept_ms)]
    if spared_key:
        # The revocation names the spared session by its key. If it gets a new id later, the newer
        # login spares it.
        changes.append(Change(spared_key, now_ms, {PRINCIPAL: user.encode()}, (LOGIN,)))
    committed = commit_with_events(writer, events, changes, now_ms)
    events.add(Event(PRINCIPAL_ENDED, principal=user))
    spared = committed.states[-1] if spared_key else None
    return Revoked(committed.head, _ended_in(committed.stored), spared)


def end_revoked(replica: Replica, events: Events) -> Iterator[int]:
    """End what is left of revoked sessions; tell of each part how many it ended."""
    for stored in end_revoked_in_parts(replica):
        note_events(events, stored)
        yield _ended_in(stored)


def end_the_rest(replica: Replica, events: Events) -> int:
    """End what is left of revoked sessions, with pauses for others; return how many ended."""
    ended = 0
    for further in end_revoked(replica, events):
        ended += further
        time.sleep(BETWEEN_PARTS_S)
    return ended


def _ended_in(stored: Sequence[Stored]) -> int:
    return sum(
        after.ended is not None and before is not None and before.ended is None
        for _, before, after in stored
    )


def principal_text(principal: str | int) -> str:
    """Return a user's id as it is stored: of a member of an Enum the value, not the name."""
    if isinstance(principal, str):
        return str.__str__(principal)
    return int.__repr__(principal) if isinstance(principal, Enum) else str(principal)


def handle_of(key: str) -> str:
    """Name a session to people and forms, by a hash of its key."""
    return sha256(key.encode()).hexdigest()[:HANDLE_LENGTH]


def find_by_handle(handle: str, keys: Sequence[str]) -> str | None:
    """Return the key whose handle begins so; at least a name. Raises ValueError for several."""
    if len(handle) < NAME_LENGTH:
        raise ValueError(f"{handle!r} is too short to name a session")
    found = [key for key in keys if handle_of(key).startswith(handle)]
    if len(found) > 1:
        raise ValueError(f"{handle} names several sessions; give the whole handle")
    return found[0] if found else None


def last_writer(state: SessionState) -> bytes:
    """Return the node that wrote the newest attribute still there."""
    newest = max(state.registers.values(), key=lambda register: register[:2], default=None)
    return b"" if newest is None else newest.node


__all__ = [
    "ClusterSessions", "SessionView", "end_the_rest", "find_by_handle", "handle_of", "last_writer",
    "principal_text", "revoke_all",
]
