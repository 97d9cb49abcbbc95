"""ASGI middleware: ``scope["session"]`` for FastAPI, Starlette and any other ASGI application.

    app.add_middleware(ClusterSessionMiddleware, distributable=True)

Changes are committed before the response starts, so that what the client is told is true. What is
changed later, in a streamed body, a background task or an open websocket, is committed when the
application returns, or at once by ``session.save()``; only a session that begins after the headers
are out cannot be kept, because its cookie cannot be sent.

When the application raises, what it had not saved is not committed, like in the frameworks' own
session middleware: half of a failed operation is not the user's state. A client that goes away is
no failure of the application: what was changed until then is committed.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from clustersession.cluster.readiness import Readiness, readiness_async
from clustersession.cluster.runtime import Runtime
from clustersession.core.errors import ConfigurationError, ReplicaError
from clustersession.session.cookie import cookie_values
from clustersession.session.manager import SessionManager
from clustersession.session.outcome import Outcome
from clustersession.session.session import Session

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_HEADERS_GO_OUT = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"}
)
_CLIENT_WENT_AWAY = frozenset({"WebSocketDisconnect", "ClientDisconnect", "ClientDisconnected"})


class ClusterSessionMiddleware:
    """Gives every http and websocket scope a ``session``.

    Options are the settings by name; ``session_cookie``, ``max_age``, ``path``, ``same_site``,
    ``https_only``, ``domain``, ``partitioned`` and ``secret_key`` are understood as in Starlette's
    SessionMiddleware. Without any, everything comes from the environment. Raises
    ConfigurationError.
    """

    def __init__(self, app: ASGIApp, /, **options: Any) -> None:
        self.app = app
        self.runtime = Runtime.from_options(options)
        settings = self.runtime.settings
        self._cookie_name = settings.cookie_name
        self._ready_path = settings.ready_path
        self._header_name = settings.header_name.lower().encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
        elif kind in ("http", "websocket"):
            if self._ready_path and kind == "http" and scope["path"] == self._ready_path:
                await _send_readiness(scope, send, await readiness_async(self.runtime))
            else:
                await self._serve(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        manager = self.runtime.manager()
        session = self._open(manager, scope)
        if session.missing:
            await manager.fetch_async(session)
        scope["session"] = session

        async def send_with_session(message: Message) -> None:
            if not session.sealed and message["type"] in _HEADERS_GO_OUT:
                outcome = await manager.commit_async(session)
                if outcome.vary:
                    message = {**message, "headers": _with_session(message, outcome)}
            await send(message)

        try:
            await self.app(scope, receive, send_with_session)
        except Exception as error:
            if type(error).__name__ in _CLIENT_WENT_AWAY:
                await self._save_late(manager, session)
            raise
        await self._save_late(manager, session)

    def _open(self, manager: SessionManager, scope: Scope) -> Session:
        values: list[str] = []
        seen: list[str] = []
        header_value = None
        for name, value in scope["headers"]:
            if name == b"cookie":
                text = value.decode("latin-1")
                values += cookie_values(text, self._cookie_name)
                if manager.seen_cookie_name:
                    seen += cookie_values(text, manager.seen_cookie_name)
            elif self._header_name and name == self._header_name:
                header_value = value.decode("latin-1")
        return manager.open(values, header_value, seen)

    async def _save_late(self, manager: SessionManager, session: Session) -> None:
        if session.unsaved:
            session.sealed = True
            await manager.asave(session)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.runtime.start()
        except (ConfigurationError, ReplicaError) as error:
            # Raising alone would read as "this application has no lifespan" to the server.
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        try:
            await self.app(scope, receive, send)
        finally:
            self.runtime.close()


async def _send_readiness(scope: Scope, send: Send, readiness: Readiness) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in readiness.headers]
    await send({"type": "http.response.start", "status": readiness.status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" else readiness.body
    await send({"type": "http.response.body", "body": body})


def _with_session(message: Message, outcome: Outcome) -> list[tuple[bytes, bytes]]:
    headers = list(message.get("headers") or ())
    if outcome.set_cookie is not None:
        headers.append((b"set-cookie", outcome.set_cookie.encode("latin-1")))
    if outcome.set_seen_cookie is not None:
        headers.append((b"set-cookie", outcome.set_seen_cookie.encode("latin-1")))
    for name, value in headers:
        if name.lower() == b"vary" and _names_cookie(value):
            return headers
    headers.append((b"vary", b"Cookie"))
    return headers


def _names_cookie(vary: bytes) -> bool:
    return any(field.strip() in (b"cookie", b"*") for field in vary.lower().split(b","))
