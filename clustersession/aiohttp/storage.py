"""Offers a storage for applications that use ``aiohttp_session``.

    aiohttp_session.setup(app, ClusterSessionStorage(app, distributable=True))

``get_session(request)`` then gives the session of the cluster under the names that
``aiohttp_session`` has for everything. It is no copy that is written back as a whole: requests
merge per attribute, a logout wins, changes inside values are noticed, and ``ClusterSession``, which
the storage adds to the application, commits and answers.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from aiohttp import web
from aiohttp_session import AbstractStorage
from aiohttp_session import Session as TheirSession

from clustersession.aiohttp import ClusterSession, session_of
from clustersession.core.errors import ConfigurationError
from clustersession.session.events import Events
from clustersession.session.session import Session
from clustersession.worker.runtime import Runtime

_OUR_NAMES = {
    "secure": "cookie_secure", "httponly": "cookie_httponly", "samesite": "cookie_samesite",
}
"""What ``aiohttp_session`` calls by another name, besides what it has in common with Starlette."""

_REFUSED = ("encoder", "decoder")

_served: ContextVar[web.Request] = ContextVar("clustersession_aiohttp_request")
"""The request of this task: ``new_session`` is not told of it."""


class ClusterSessionStorage(AbstractStorage):
    """Adds ``ClusterSession`` to an application, and gives ``get_session`` its sessions.

    Options are those of ``ClusterSession``; the names of ``aiohttp_session``'s own storages for the
    cookie are understood. Raises ConfigurationError.
    """

    def __init__(
        self, app: web.Application, *, listeners: Events | None = None, **options: Any
    ) -> None:
        given = [name for name in _REFUSED if options.pop(name, None) is not None]
        if given:
            raise ConfigurationError(
                f"{', '.join(given)}: values are stored with their types; clustersession.register "
                "adds types"
            )
        ours = {_OUR_NAMES.get(name, name): value for name, value in options.items()}
        self.extension = ClusterSession(app, listeners=listeners, **ours)
        settings = self.runtime.settings
        super().__init__(
            cookie_name=settings.cookie_name, domain=settings.cookie_domain or None,
            max_age=round(settings.cookie_max_age_s) or None, path=settings.cookie_path,
            secure=settings.cookie_secure, httponly=settings.cookie_httponly,
            samesite=settings.cookie_samesite,
        )
        app.middlewares.insert(1, _note_request)

    @property
    def runtime(self) -> Runtime:
        """Return what holds the settings and what was opened."""
        return self.extension.runtime

    async def load_session(self, request: web.Request) -> TheirSession:
        """Return the session of a request."""
        session = session_of(request)
        return _SharedSession(session, new=session.new)

    async def new_session(self) -> TheirSession:
        """End the session of this request; what is set now begins another one, with its own id.

        Raises RuntimeError outside of a request.
        """
        request = _served.get(None)
        if request is None:
            raise RuntimeError("there is a new session only while a request is served")
        session = session_of(request)
        session.clear()
        return _SharedSession(session, new=True)

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: TheirSession
    ) -> None:
        """Do nothing: ``ClusterSession`` commits whatever was changed, and sets the cookie."""


class _SharedSession(TheirSession):
    """Is the session of the cluster, under the names of ``aiohttp_session``."""

    def __init__(self, session: Session, *, new: bool) -> None:
        super().__init__(None, data=None, new=new)
        self._session = self._mapping = session

    @property
    def identity(self) -> str | None:
        """Return the id without the route, None as long as nothing has been stored."""
        return self._session.sid

    def set_new_identity(self, identity: object) -> None:
        """Give a new session another id: one that the cluster makes and signs, not this one.

        Raises RuntimeError for a session that is not new, as ``aiohttp_session`` does.
        """
        super().set_new_identity(None)
        self._session.rotate()

    @property
    def created(self) -> int:
        """Return when the session was created, in seconds since 1970."""
        return int(self._session.created_at.timestamp())

    @property
    def max_age(self) -> int | None:
        """Return the seconds without a request after which it ends; None: never for that reason."""
        return round(self._session.idle_timeout) or None

    @max_age.setter
    def max_age(self, value: int | None) -> None:
        self._session.idle_timeout = value or 0

    def changed(self) -> None:
        """Note a change; not needed for changes to be found."""
        self._session.mark_modified()

    def invalidate(self) -> None:
        """End the session on every node; what is set afterwards begins a new one."""
        self._session.invalidate()

    clear = invalidate


@web.middleware
async def _note_request(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    _served.set(request)
    return await handler(request)


__all__ = ["ClusterSessionStorage"]
