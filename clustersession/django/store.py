"""Implements Django's SessionStore, for ``SESSION_ENGINE = "clustersession.django"``.

Django's stores load a dict, let the request change it and save all of it. Here the dict is our
tracked ``Session``: only changed attributes are committed, changes inside values are found, and
requests that run at once merge per attribute. What differs for the application:

* Values keep their types, as ``wire.values`` lists them; ``SESSION_SERIALIZER`` is not used.
* ``save`` raises no UpdateError, unless Django's own middleware saves every request. When the
  session was ended meanwhile, by a logout in another tab or on another node, the logout wins and
  what the late request wrote is dropped.
* An id that is authentic but that nobody knows leaves the client's cookie alone. The node may only
  be cut off; the cookie is good again as soon as it is not.

As in Django a session expires ``SESSION_COOKIE_AGE`` after the last write, unless ``set_expiry`` or
``SESSION_SAVE_EVERY_REQUEST`` say otherwise.
"""

import logging
from datetime import timedelta
from typing import Any, cast

from django.conf import settings as django_settings
from django.contrib.sessions.backends.base import UpdateError

from clustersession.core.errors import SessionError
from clustersession.core.ids import KEY_LENGTH
from clustersession.django.backed import BackedSession
from clustersession.session.session import Session
from clustersession.session.swapping import swap_of, swap_unstored
from clustersession.session.untouched import holds_attributes
from clustersession.session.visit import Visit, visit_of

_log = logging.getLogger("clustersession")

_NOT_GIVEN: Any = object()
_EXPIRED_S = 0.001
_KEY_LENGTH_MIN = 8  # Django's own bound


class SessionStore(BackedSession):
    """Is one session, of one request or by its key, with or without route."""

    _marked = False
    _silenced = False

    # --- what Django's middleware asks ------------------------------------------------------------

    @property
    def modified(self) -> bool:
        """Tell whether the response has to save and set the cookie.

        True for changes inside values too, and when the cookie's route has to move. False when the
        session was ended meanwhile. After ``modified = False`` only changes made by the session's
        own methods count.
        """
        opened = self._opened
        if opened is not None and not opened.missing:
            if opened.mute:
                return False
            if self._marked or (not self._silenced and _has_changes(opened)):
                return self._is_worth_saving(opened)
        return self._marked or self._route_is_due()

    @modified.setter
    def modified(self, value: bool) -> None:
        opened = self._opened
        if value:
            self._silenced = False
        elif self._marked or (opened is not None and _has_changes(opened)):
            self._silenced = True
        self._marked = bool(value)

    def is_empty(self) -> bool:
        """Tell whether the client should hold no cookie: nothing is stored or to be stored."""
        empty = self.leaves_nothing()
        self.accessed = True
        return empty

    def leaves_nothing(self) -> bool:
        """Do what ``is_empty`` does, for a middleware: that the application asked is not noted."""
        opened = self._opened
        if opened is None:
            return self._given is None
        if opened.missing or opened.identifier is not None or opened.says_something:
            return False
        if holds_attributes(opened.session):
            return False
        if opened.outdated:
            # Not even a cookie that deletes: the client may hold a newer one by now.
            return False
        if opened.removed:
            return True
        if opened.client is not None or opened.discarded:
            return False
        # No id of ours. A cookie that another engine made is left to whoever looks at the session.
        return self.accessed or self._given is None or _saves_every_request()

    def _is_worth_saving(self, opened: Visit) -> bool:
        if opened.identifier is None:
            return not _is_unknown(opened)
        if self._manager.has_ended(opened):
            opened.discarded = True
            return False
        return True

    def _route_is_due(self) -> bool:
        opened = self._open()
        return not opened.missing and self._manager.route_is_due(opened)

    # --- the data ---------------------------------------------------------------------------------

    def pop(self, key: str, default: Any = _NOT_GIVEN) -> Any:
        """Do what dict.pop does."""
        return self._pop(self._get_session(), key, default)

    async def apop(self, key: str, default: Any = _NOT_GIVEN) -> Any:
        """Do what dict.pop does."""
        return self._pop(await self._aget_session(), key, default)

    def _pop(self, session: Session, key: str, default: Any) -> Any:
        if key in session:
            self.modified = True
        return session.pop(key) if default is _NOT_GIVEN else session.pop(key, default)

    def clear(self) -> None:
        """Delete every attribute; the session stays."""
        self._get_session().clear()
        self.modified = True

    # --- the store --------------------------------------------------------------------------------

    def save(self, must_create: bool = False) -> None:
        """Commit what changed, and wait for peers as ``ack`` asks.

        ``must_create``: under a new id. Raises UnserializableValue, SessionTooLarge, and
        ReplicationFailed if so configured; UpdateError only where Django's own middleware would set
        a cookie whatever has become of the session.
        """
        session = self._get_session()
        if must_create:
            session = self._copy_of(session)
        self._commit(session)
        self._refuse_ended_id(session)

    async def asave(self, must_create: bool = False) -> None:
        """Do what ``save`` does, without blocking the event loop while peers confirm."""
        session = await self._aget_session()
        if must_create:
            session = self._copy_of(session)
        await self._acommit(session)
        self._refuse_ended_id(session)

    def swap(
        self, name: str, old: Any, new: Any, *, expires_in: float | timedelta | None = None
    ) -> bool:
        """Set an attribute at once if it is stored as ``old``; see ``session.session.Session``.

        A session that is not stored yet is, with all that is set in it.
        """
        session = self._get_session()
        if session.sid is not None:
            return session.swap(name, old, new, expires_in=expires_in)
        visit = visit_of(session)
        if swap_unstored(visit, swap_of(visit, name, old, new, expires_in)):
            self._commit(session)
            self.modified = True
        return session.sid is not None

    async def aset(
        self, key: str, value: Any, *, expires_in: float | timedelta | None = None
    ) -> None:
        """Do what ``set`` does; Django's own sets as ``session[key] = value`` does."""
        await self._aget_session()
        self.set(key, value, expires_in=expires_in)

    async def aswap(
        self, name: str, old: Any, new: Any, *, expires_in: float | timedelta | None = None
    ) -> bool:
        """Do what ``swap`` does, without blocking the event loop."""
        session = await self._aget_session()
        if session.sid is not None:
            return await session.aswap(name, old, new, expires_in=expires_in)
        visit = visit_of(session)
        if swap_unstored(visit, swap_of(visit, name, old, new, expires_in)):
            await self._acommit(session)
            self.modified = True
        return session.sid is not None

    def create(self) -> None:
        """Begin a new session with the present data, stored at once. The old one goes on."""
        self.save(must_create=True)
        self.modified = True

    async def acreate(self) -> None:
        """Do what ``create`` does, without blocking the event loop."""
        await self.asave(must_create=True)
        self.modified = True

    def cycle_key(self) -> None:
        """Move to a new id with the data, and end the old id everywhere, at once.

        When the session was ended meanwhile its data stays ended, and a new one begins: a login
        must not be lost because another tab has just logged out.
        """
        session = self._get_session()
        self._move(session)
        self._commit(session)
        if self._is_lost(session):
            self._commit(self._new_session(logs_in=True))
        self.modified = True

    async def acycle_key(self) -> None:
        """Do what ``cycle_key`` does, without blocking the event loop."""
        session = await self._aget_session()
        self._move(session)
        await self._acommit(session)
        if self._is_lost(session):
            await self._acommit(self._new_session(logs_in=True))
        self.modified = True

    def flush(self) -> None:
        """End the session everywhere, at once. What is set afterwards starts a new one."""
        session = self._get_session()
        session.invalidate()
        visit = visit_of(session)
        self._manager.save(visit)
        self._flushed(visit)

    async def aflush(self) -> None:
        """Do what ``flush`` does, without blocking the event loop."""
        session = await self._aget_session()
        session.invalidate()
        visit = visit_of(session)
        await self._manager.save_async(visit)
        self._flushed(visit)

    def exists(self, session_key: str | None) -> bool:
        """Tell whether such a session is alive, on this node or another."""
        return self._read(session_key).identifier is not None

    async def aexists(self, session_key: str | None) -> bool:
        """Do what ``exists`` does, without blocking the event loop."""
        return (await self._aread(session_key)).identifier is not None

    def delete(self, session_key: str | None = None) -> None:
        """End that session everywhere, by default this one."""
        doomed = self._read(session_key if session_key is not None else self._session_key)
        if doomed.identifier is not None:
            doomed.invalidate()
            self._manager.save(doomed)

    async def adelete(self, session_key: str | None = None) -> None:
        """Do what ``delete`` does, without blocking the event loop."""
        doomed = await self._aread(session_key if session_key is not None else self._session_key)
        if doomed.identifier is not None:
            doomed.invalidate()
            await self._manager.save_async(doomed)

    def load(self) -> dict[str, Any]:
        """Return the data as stored now, in a dict of its own."""
        return self._take(self._read(self.session_key))

    async def aload(self) -> dict[str, Any]:
        """Do what ``load`` does, without blocking the event loop."""
        return self._take(await self._aread(self.session_key))

    @classmethod
    def clear_expired(cls) -> None:
        """Do nothing: expired sessions are swept by each node's agent."""

    @classmethod
    async def aclear_expired(cls) -> None:
        """Do nothing: expired sessions are swept by each node's agent."""

    # --- with the manager -------------------------------------------------------------------------

    def _take(self, visit: Visit) -> dict[str, Any]:
        self.accessed = True
        if visit.identifier is None and not visit.outdated:
            self._set_session_key(None)
        return dict(visit.session)

    def _is_lost(self, session: Session) -> bool:
        visit = visit_of(session)
        return visit.discarded and self._manager.has_ended(visit)

    def _id_has_ended(self, identifier: str | None) -> bool:
        """Tell whether this node knows that an id has ended."""
        if identifier is None:
            return False
        state = self._manager.replica.get(identifier[:KEY_LENGTH])
        return state is not None and state.ended is not None

    def _may_live_elsewhere(self, visit: Visit) -> bool:
        """Tell whether nobody touched the session here, and it may live beyond a partition."""
        return _is_unknown(visit) and not self._id_has_ended(visit.client and visit.client[0])

    def _refuse_ended_id(self, session: Session) -> None:
        """Keep Django's middleware from setting the cookie of an id that has ended."""
        if not self.sets_cookie_by_key or not _saves_every_request():
            return
        visit = visit_of(session)
        if visit.outdated or self._id_has_ended(visit.identifier):
            raise UpdateError("the session has ended while this request ran")

    def _flushed(self, visit: Visit) -> None:
        if visit.discarded:
            # It takes nothing more, but what is set after a flush belongs to another session.
            self._begin().removed = True
        self.modified = True

    def _copy_of(self, session: Session) -> Session:
        values = session.copy()
        new = self._new_session()
        new.update(values)
        return new

    def _new_session(self, *, logs_in: bool = False) -> Session:
        visit = self._begin()
        visit.logs_in = logs_in
        return cast(Session, visit.session)

    def _move(self, session: Session) -> None:
        session.rotate()
        # Django calls for a new id when it has a user, and sets the user afterwards.
        visit_of(session).logs_in = True

    def _commit(self, session: Session) -> None:
        self._prepare(session)
        manager, visit = self._manager, visit_of(session)
        manager.save(visit)
        if not self.answered_outside:
            manager.session_cookie(visit)

    async def _acommit(self, session: Session) -> None:
        self._prepare(session)
        manager, visit = self._manager, visit_of(session)
        await manager.save_async(visit)
        if not self.answered_outside:
            manager.session_cookie(visit)

    def _lengthen(self, session: Session, age_s: float) -> None:
        """Let a session live that ``set_expiry`` gave longer than others have: under a new id."""
        longest_s = self._manager.settings.longest_life_s
        if age_s > longest_s:
            _log.warning(
                "set_expiry asks for %d s, but no session lives longer than lifetime_s_max, which "
                "is %d", age_s, longest_s,
            )
        lifetime_s = min(age_s, longest_s)
        if session.lifetime >= lifetime_s:
            return
        if session.sid is not None:
            session.rotate()
        session.lifetime = lifetime_s

    def _prepare(self, session: Session) -> None:
        """Give the session the life that Django's attributes ask for."""
        visit = visit_of(session)
        if visit.identifier is None:
            if _saves_every_request() and self._may_live_elsewhere(visit):
                self._keeps_given = True
                return
            visit.wanted = session.modified = True
        age_s = self.get_expiry_age(expiry=session.get("_session_expiry"))
        session.idle_timeout = age_s if age_s > 0 else _EXPIRED_S
        if age_s > self._manager.settings.effective_absolute_timeout_s and not visit.answered:
            self._lengthen(session, age_s)
        self._follow_login(session)


def _has_changes(visit: Visit) -> bool:
    try:
        return visit.unsaved
    except SessionError:
        return True  # the commit will say what is wrong


def _is_unknown(visit: Visit) -> bool:
    """Tell whether the id is authentic, nobody has the session, and nothing is set in it."""
    authentic = visit.client is not None and not visit.removed
    blank = not holds_attributes(visit.session) and not visit.system
    return visit.identifier is None and authentic and blank


def _saves_every_request() -> bool:
    return bool(django_settings.SESSION_SAVE_EVERY_REQUEST)
