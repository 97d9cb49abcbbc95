"""Keeps Litestar's ``request.session`` in the cluster, or stores its own sessions there.

    app = Litestar(route_handlers=[...], plugins=[ClusterSessionPlugin(distributable=True)])

The plugin is the better choice: requests merge per attribute, a logout wins, values keep their
types, and the cookie names its node for sticky balancers. ``request.set_session`` and
``request.clear_session`` work as ever, and Litestar's ``SessionAuth`` works on the same session.

``clustersession.litestar.store`` has a ``Store`` for applications that have to stay with Litestar's
server-side sessions, whose cookie and whose habit of writing whole sessions as JSON are Litestar's.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from litestar import Litestar, Request, WebSocket, asgi
from litestar.config.app import AppConfig
from litestar.plugins import InitPlugin
from litestar.serialization import decode_json, encode_json
from litestar.types import ASGIApp, Empty, Receive, Scope, Send
from litestar.utils import get_serializer_from_scope

from clustersession.asgi import ClusterSessionMiddleware, session_of
from clustersession.litestar.logins import LoginFollower
from clustersession.litestar.session_auth import use_our_session
from clustersession.requests.opening import refuse_url_parameter
from clustersession.session.events import Callback
from clustersession.session.session import Session
from clustersession.session.visit import Visit
from clustersession.worker.runtime import Runtime


class ClusterSessionPlugin(InitPlugin):
    """Adds the session middleware, and joins the cluster when the server starts.

    Options are those of ``clustersession.asgi.ClusterSessionMiddleware``, ``listeners`` included.
    ``follow_logins``: see ``litestar.logins``. Raises ConfigurationError.
    """

    def __init__(self, *, follow_logins: bool = True, **options: Any) -> None:
        self._follower = LoginFollower() if follow_logins else None
        self.runtime = Runtime.from_options(options)
        refuse_url_parameter(
            self.runtime.settings,
            "Litestar chooses the route before any middleware of the plugin runs. Put "
            "ClusterSessionMiddleware of clustersession.asgi around the whole application instead",
        )

    def start(self) -> None:
        """Join the cluster now: in an application that is mounted, which gets no lifespan.

        Further calls do nothing. Raises ReplicaUnusable or ConfigurationError when the node cannot
        work here at all.
        """
        self.runtime.start()

    def on(self, kind: str, callback: Callback | None = None) -> Any:
        """Have a callback called for events of a kind; also a decorator. See ``session.events``.

        Raises ValueError for a kind that does not exist.
        """
        return self.runtime.on(kind, callback)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the middleware and join the cluster at the server's start; called by Litestar."""
        runtime, follower = self.runtime, self._follower

        def with_session(app: ASGIApp) -> ASGIApp:
            use_our_session(app, runtime.settings.cookie_name, follower)
            return _LitestarMiddleware(app, runtime, follower)  # type: ignore[return-value]

        @asynccontextmanager
        async def joined(app: Litestar) -> AsyncIterator[None]:
            runtime.start()
            try:
                yield
            finally:
                runtime.close()

        app_config.middleware.insert(0, with_session)
        app_config.lifespan.insert(0, joined)
        request_class = app_config.request_class or Request
        app_config.request_class = _loading(request_class)
        app_config.websocket_class = _loading(app_config.websocket_class or WebSocket)
        if runtime.settings.ready_path:
            app_config.route_handlers.append(_ready_route(runtime))
        return app_config


class _LitestarMiddleware(ClusterSessionMiddleware):
    def __init__(self, app: Any, runtime: Runtime, follower: LoginFollower | None) -> None:
        super().__init__(app, runtime=runtime)
        self._follower = follower

    async def before_commit(self, visit: Visit, scope: Any) -> None:
        """Find out who is logged in by what is about to be stored, too."""
        await super().before_commit(visit, scope)
        if self._follower is not None:
            await self._follower.follow(cast(Session, visit.session), scope)

    def content_of(self, replacement: Any, scope: Any) -> Mapping[str, Any] | None:
        """Take what ``set_session`` and ``clear_session`` leave: what Litestar can serialize.

        A model is stored as what Litestar's own sessions would make of it.
        """
        if replacement is Empty:
            return None
        if isinstance(replacement, Mapping):
            return replacement
        plain = decode_json(encode_json(replacement, get_serializer_from_scope(scope)))
        return super().content_of(plain, scope)


def _loading(base: type[Any]) -> type[Any]:
    """Make a connection class whose ``session`` is loaded when somebody asks for it.

    Whoever gets hold of the object may be msgspec, which reads a dict without any method.
    """

    def session(self: Any) -> Any:
        found = base.session.fget(self)
        if isinstance(found, Session):
            found.mark_accessed()
        return found

    return type(base.__name__, (base,), {"__slots__": (), "session": property(session)})


def _ready_route(runtime: Runtime) -> Any:
    async def nothing_else(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the middleware answers this path")

    middleware = ClusterSessionMiddleware(nothing_else, runtime=runtime)

    @asgi(runtime.settings.ready_path, copy_scope=False)
    async def ready(scope: Scope, receive: Receive, send: Send) -> None:
        await middleware(scope, receive, send)  # type: ignore[arg-type]

    return ready


__all__ = ["ClusterSessionPlugin", "Session", "session_of"]
