"""Opens the session of ours that stands behind a Django session."""

import sys
from collections.abc import Iterable
from datetime import timedelta
from functools import cached_property
from types import FrameType
from typing import Any, cast

from django.contrib.auth import SESSION_KEY as USER_ID
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.middleware import SessionMiddleware
from django.utils.functional import LazyObject

from clustersession.core.ids import join_cookie, split_cookie
from clustersession.django.configuration import follows_logins, manager
from clustersession.requests.opening import RequestOpener
from clustersession.requests.paths import ExcludedSession
from clustersession.session.manager import SessionManager
from clustersession.session.session import Session
from clustersession.session.users import ClusterSessions
from clustersession.session.visit import Visit, visit_of

_KEY_LENGTH_MIN = 8  # Django's own bound
_WRITES_THE_COOKIE = SessionMiddleware.process_response.__name__
_CHANNELS_WRITES_THE_COOKIE = ("channels.sessions", "send")
"""Module and function of Channels' SessionMiddleware, for consumers that answer HTTP."""


class BackedSession(SessionBase):
    """Is Django's session over one of ours, which is opened at the first look.

    Attributes:
        accessed: the application looked at the session in this request.
        sets_cookie_by_key: a middleware of others writes the cookie, see ``session_key``.
        sent: the ids that came with the request, as ``open_request`` was told.
        by_cookie, by_header: how to tell the client its id, see ``requests.answer``.
        excluded: the path matches a pattern of the setting ``exclude``.
        answered_outside: a middleware of ours around Django opened the session, and tells the
            client.
    """

    sets_cookie_by_key = True
    sent: frozenset[str] = frozenset()
    by_cookie = True
    by_header = False
    excluded = False
    answered_outside = False
    _given: str | None = None
    _judged = False
    _keeps_given = False
    _opened: Visit | None = None

    # --- the id ---------------------------------------------------------------------------------

    # Applications and packages keep ``session_key`` in columns of 40 characters, and compare it
    # with the one of a later request. So it is the id without the route, which a failover changes.
    # Django's own middleware and that of Channels read it as well, to make it the cookie, where
    # balancers look for the route. There is nothing else to tell them by than who asks.

    def _get_session_key(self) -> str | None:
        key = self._cookie_key()
        found = None if key is None else split_cookie(key)
        return key if found is None else found[0]

    def _cookie_key(self) -> str | None:
        """Return what stands in the cookie: the id with its route."""
        opened = self._opened
        if opened is None or opened.missing:
            return self._given
        if opened.outdated:
            # With none, applications would create a session to have one.
            client = None if self.sets_cookie_by_key else opened.client
            return self._given if client is None else client[0]
        if opened.identifier is None:
            if self._keeps_given:
                return self._given
            # Django's middleware turns None into the text "None": what could not be stored has
            # an empty cookie.
            return "" if opened.discarded else None
        return _value_for(opened, self._manager.cluster.route)

    def _set_session_key(self, value: str | None) -> None:
        self._given = value if value and len(value) >= _KEY_LENGTH_MIN else None
        self._opened = None
        self._keeps_given = self._judged = False

    def _read_session_key(self) -> str | None:
        self.accessed = True
        if self.sets_cookie_by_key and _writes_the_cookie(sys._getframe(1)):
            return self._cookie_key()
        return self._get_session_key()

    session_key = property(_read_session_key)
    _session_key = property(_get_session_key, _set_session_key)

    @property
    def sid(self) -> str | None:
        """Return the id without the route, the same on every node; None if nothing is stored."""
        return self._get_session().sid

    @property
    def principal(self) -> str | None:
        """Return the user this session belongs to, to list and end all sessions of a user.

        Taken from Django's login, at the latest when it is saved; setting it is for other ways of
        logging in.
        """
        session = self._get_session()
        self._follow_login(session)
        return session.principal

    @principal.setter
    def principal(self, value: str | int | None) -> None:
        self._get_session().principal = value
        self.modified = True

    def _follow_login(self, session: Session) -> None:
        user_id = session.get(USER_ID)
        if user_id is not None and str(user_id) != session.principal and follows_logins():
            session.principal = str(user_id)

    @property
    def label(self) -> str | None:
        """Return what the application noted of the device, for lists of a user's sessions."""
        return self._get_session().label

    @label.setter
    def label(self, value: str | None) -> None:
        self._get_session().label = value

    def set(
        self, name: str, value: Any, *, expires_in: float | timedelta | None = None
    ) -> None:
        """Set an attribute that is gone so many seconds from now; see ``session.session.Session``.
        """
        self._get_session().set(name, value, expires_in=expires_in)
        self.modified = True

    def expires_in(self, name: str) -> float | None:
        """Return in how many seconds an attribute is gone; see ``session.session.Session``."""
        return self._get_session().expires_in(name)

    @property
    def cluster(self) -> ClusterSessions:
        """Return users' sessions across the cluster: to list and to end them."""
        return self._get_session().cluster

    @property
    def clustered(self) -> Session:
        """Return the session behind this one, for ``current`` and ``except_current`` there."""
        return self._get_session()

    # --- our session ------------------------------------------------------------------------------

    def open_request(
        self, visit: Visit, ids: Iterable[str], *, answered_outside: bool = False
    ) -> None:
        """Stand for a request's session, opened by a middleware that has read all its ``ids``."""
        self._opened = visit
        if answered_outside:
            # It belongs to the cluster of whoever opened it.
            self.answered_outside = True
            self._manager = cast(RequestOpener[Any], visit.opened_by).runtime.manager()
        self.by_cookie, self.by_header = visit.by_cookie, visit.by_header
        self.sent = frozenset(ids)
        self.sets_cookie_by_key = False

    def open_excluded(self) -> None:
        """Stand where the path is excluded: read as empty, and refuse every change."""
        self._given = None
        session = ExcludedSession(self._manager)
        self._opened = visit_of(session)
        # Here the visit is all that is kept, so it has to keep the session.
        self._opened.session = session
        self.excluded = True

    def cookie_value(self) -> str | None:
        """Return what the client should hold; None when nothing is stored, or not any more."""
        opened = self._open()
        if opened.identifier is None or opened.discarded:
            return None
        return _value_for(opened, self._manager.cluster.route)

    def opened(self) -> Visit:
        """Return the visit behind this session; not fetched from peers, if it is ``missing``."""
        return self._open()

    @cached_property
    def _manager(self) -> SessionManager:
        return manager()

    def _open(self) -> Visit:
        opened = self._opened
        if opened is None:
            given = self._given
            self._opened = opened = self._manager.open((given,) if given else ())
            # A store that is made by its key, as by tests: whoever has the key goes on with it.
            opened.keeps_id = True
        return opened

    def _read(self, key: str | None) -> Visit:
        visit = self._manager.open((key,) if key else ())
        if visit.missing:
            self._manager.fetch(visit)
        return visit

    async def _aread(self, key: str | None) -> Visit:
        visit = self._manager.open((key,) if key else ())
        if visit.missing:
            await self._manager.fetch_async(visit)
        return visit

    def _begin(self) -> Visit:
        before = self._opened
        if before is not None and before.is_open:
            # Whoever opened it is to commit it, and keeps it alive while the request is open.
            before.begin_anew()
            return before
        self._opened = new = self._manager.open(())
        if before is not None and before.outdated:
            # Another session is no login, and its cookie would take the place of the new one, too.
            new.outdated, new.client = True, before.client
        return new

    def _get_session(self, no_load: bool = False) -> Session:
        self.accessed = True
        opened = self._open()
        if opened.missing:
            self._manager.fetch(opened)
        return self._judge(opened)

    async def _aget_session(self, no_load: bool = False) -> Session:
        self.accessed = True
        opened = self._open()
        if opened.missing:
            await self._manager.fetch_async(opened)
        return self._judge(opened)

    def _judge(self, opened: Visit) -> Session:
        """End what is past the date that ``set_expiry`` gave it; at the first look only."""
        session = cast(Session, opened.session)
        if not self._judged:
            self._judged = True
            expiry = session.get("_session_expiry")
            if expiry and self.get_expiry_age(expiry=expiry) <= 0:
                session.invalidate()
        return session

    _session = property(_get_session)


def _writes_the_cookie(frame: FrameType) -> bool:
    """Tell whether it is a middleware of Django or Channels that answers a request there."""
    if frame.f_globals.get("__name__") == LazyObject.__module__ and frame.f_back is not None:
        frame = frame.f_back  # Channels wraps the session in one
    name = frame.f_code.co_name
    if name == _WRITES_THE_COOKIE:
        return isinstance(frame.f_locals.get("self"), SessionMiddleware)
    return (frame.f_globals.get("__name__"), name) == _CHANNELS_WRITES_THE_COOKIE


def _value_for(visit: Visit, own_route: str) -> str:
    identifier, client = visit.identifier, visit.client
    assert identifier is not None
    route = client[1] if client is not None and client[0] == identifier else None
    return join_cookie(identifier, route or own_route)
