"""Gives any ASGI application its session.

    app.add_middleware(ClusterSessionMiddleware, distributable=True)

Changes are committed before the response starts, so that what the client is told is true. What is
changed later, in a streamed body, a background task or an open websocket, is committed when the
application returns, or at once by ``session.save()``; only a session that begins after the headers
are out cannot be kept, because its cookie cannot be sent.

When the application raises, what it had not saved is not committed, like in the frameworks' own
session middleware: half of a failed operation is not the user's state. A client that goes away is
no failure of the application: what was changed until then is committed.

``session.clear()`` is the logout of most Starlette applications: their own middleware deletes the
cookie of a session that was emptied. So it ends the session on every node, and a request that still
runs cannot bring it back; what is set afterwards begins a new one, under a new id.
"""

import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from types import FrameType
from typing import Any, Protocol

from clustersession.core.errors import ConfigurationError, SessionError
from clustersession.requests.answer import AnswerWriter
from clustersession.requests.foreign import ScopeSessions
from clustersession.requests.late_changes import save_late_async
from clustersession.requests.lifespan import joined
from clustersession.requests.nesting import WSGI_ENVIRON, bridged, check_inside, leave_word
from clustersession.requests.opening import RequestOpener
from clustersession.requests.paths import ExcludedSession, MisleadingPath, PathParameter
from clustersession.requests.readiness import Readiness, readiness_async
from clustersession.session.manager import SessionManager
from clustersession.session.outcome import VARY, Outcome
from clustersession.session.session import Session
from clustersession.session.visit import Visit
from clustersession.worker.runtime import Runtime

_log = logging.getLogger("clustersession")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class HasScope(Protocol):
    """Stands for a request or a websocket of any ASGI framework."""

    @property
    def scope(self) -> Any:
        """Return the ASGI scope."""
        ...


_HEADERS_GO_OUT = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"}
)
_POLICY_VIOLATION = 1008
_INTERNAL_ERROR = 1011
"""How websockets are closed, RFC 6455, section 7.4.1."""
_OF_A_CALL = frozenset({"scope", "receive", "send"})
"""What ASGI calls an application with; every framework has them under these names."""
_CLIENT_WENT_AWAY = frozenset({"WebSocketDisconnect", "ClientDisconnect", "ClientDisconnected"})


class ClusterSessionMiddleware:
    """Gives every http and websocket scope a ``session``.

    Options are the settings by name; ``session_cookie``, ``max_age``, ``path``, ``same_site``,
    ``https_only``, ``domain``, ``partitioned`` and ``secret_key`` are understood as in Starlette's
    SessionMiddleware. Without any, everything comes from the environment. ``runtime`` shares what
    another middleware has opened, instead of options. Raises ConfigurationError; made by a
    framework when the server already calls the application, as by ``add_middleware``, it fails the
    server's start instead.

    ``_refusal_logged``: whether it was logged why requests are refused. Once is enough.
    ``_saves_at_once``: a commit waits for nobody, so that it needs no coroutine.
    """

    def __init__(
        self, app: ASGIApp, /, *, runtime: Runtime | None = None, **options: Any
    ) -> None:
        self.app = app
        try:
            self.runtime = runtime or Runtime.from_options(options)
            check_inside(app, self.runtime)
        except ConfigurationError as error:
            if not _is_made_by_a_call():
                raise
            # The server would take the exception for a lack of lifespan, start, and answer 500.
            self.runtime = Runtime.refused(error)
        self._refusal_logged = False
        settings = self.runtime.settings
        self._opener = RequestOpener(self.runtime, _cookies_of, _header_of, clearing_ends=True)
        self._answers = AnswerWriter(settings)
        self._scope_sessions = ScopeSessions(app, self.runtime)
        # An adapter may have something to do before each commit, which may wait.
        plain = type(self).before_commit is ClusterSessionMiddleware.before_commit
        self._saves_at_once = plain and not settings.waits_for_peers
        name, value = self._answers.only_vary
        self._only_vary = (name.lower().encode("latin-1"), value.encode("latin-1"))

    def start(self) -> None:
        """Join the cluster now: for a server's hooks, where no lifespan reaches this middleware.

        That is so in an application that is mounted in another one: call it in the lifespan of the
        outer one. Further calls do nothing. Raises ReplicaUnusable or ConfigurationError when the
        node cannot work here at all.
        """
        self.runtime.start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind, opener = scope["type"], self._opener
        is_check = opener.ready_path and kind == "http" and scope["path"] == opener.ready_path
        if is_check or kind not in ("http", "websocket"):
            return await self._serve_without(scope, receive, send)
        may_be_inside = opener.place in scope or WSGI_ENVIRON in scope
        if may_be_inside and (outer := opener.join(scope, scope)) is not None:
            return await self._serve_inside(outer, scope, receive, send)
        # All of it is here: calls are most of what a request costs whose session nobody touches.
        url_value = None
        try:
            manager = self.runtime.manager()
            if opener.url_parameter is not None:
                scope, url_value = _without_parameter(scope, opener.url_parameter)
        except (ConfigurationError, MisleadingPath) as error:
            return await self._refuse(kind, send, error)
        # A copy, for another middleware around us, which is not to find ours in its place.
        scope = {**scope} if "session" in scope else scope
        visit = opener.open(manager, scope, scope["path"], url_value, notes=scope)
        if visit is None:
            scope["session"] = ExcludedSession(manager)
            return await self.app(scope, receive, send)
        before = leave_word(scope) if bridged else None
        try:
            if visit.missing:
                await manager.fetch_async(visit)
            scope["session"] = visit.session
            await self.app(scope, receive, partial(self._send, manager, visit, scope, send))
            if visit.touched or visit.endings or scope["session"] is not visit.session:
                await self._save_late(manager, visit, scope)
        except Exception as error:
            if type(error).__name__ in _CLIENT_WENT_AWAY:
                await self._save_late(manager, visit, scope)
            raise
        finally:
            if bridged:
                leave_word(before)
            manager.close(visit)
        return None

    async def _serve_without(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what has no session: the server's start and end, and health checks."""
        if scope["type"] == "http":
            await _send_readiness(scope, send, await readiness_async(self.runtime))
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _serve_inside(
        self, visit: Visit, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Give the application the session of a middleware around this one, which answers."""
        session = visit.session
        if scope.get("session") is not session:
            scope = {**scope, "session": session}

        async def send_with_replacement(message: Message) -> None:
            # The scope of whoever is around may be another one, where it would not be seen.
            if scope["session"] is not session or message["type"] in _HEADERS_GO_OUT:
                await self.before_commit(visit, scope)
            await send(message)

        await self.app(scope, receive, send_with_replacement)
        await self.before_commit(visit, scope)

    def _send(
        self, manager: SessionManager, visit: Visit, scope: Scope, send: Send, message: Message
    ) -> Awaitable[None]:
        """Send a message of the application; with the headers goes what the session asks for."""
        if visit.answered or message["type"] not in _HEADERS_GO_OUT:
            return send(message)
        if scope["session"] is visit.session and manager.owes_nothing(visit):
            outcome = manager.answer_unchanged(visit)
            return send(self._completed(message, outcome) if outcome.vary else message)
        if self._saves_at_once and scope["session"] is visit.session and manager.is_brief(visit):
            manager.save(visit)
            outcome = manager.answer(visit)
            return send(self._completed(message, outcome) if outcome.vary else message)
        return self._commit_and_send(manager, visit, scope, send, message)

    async def _commit_and_send(
        self, manager: SessionManager, visit: Visit, scope: Scope, send: Send, message: Message
    ) -> None:
        await self.before_commit(visit, scope)
        await manager.save_async(visit)
        outcome = manager.answer(visit)
        await send(self._completed(message, outcome) if outcome.vary else message)

    async def _save_late(self, manager: SessionManager, visit: Visit, scope: Scope) -> None:
        await self.before_commit(visit, scope)
        await save_late_async(manager, visit)

    async def before_commit(self, visit: Visit, scope: Scope) -> None:
        """Take over what the application put in the session's place, also for whoever is around."""
        if scope["session"] is not visit.session:
            self._take_over(visit, scope)

    async def _refuse(
        self, kind: str, send: Send, error: ConfigurationError | MisleadingPath
    ) -> None:
        status, code, text = 400, _POLICY_VIOLATION, f"{error}\n"
        if isinstance(error, ConfigurationError):
            # Without a lifespan nothing has kept the server from its start.
            status, code = 500, _INTERNAL_ERROR
            text = "this application cannot serve sessions; its log says why\n"
            if not self._refusal_logged:
                self._refusal_logged = True
                _log.error("this application cannot serve sessions: %s", error)
        if kind == "websocket":
            await send({"type": "websocket.close", "code": code})
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with joined(self.runtime.start, self.runtime.close, receive, send):
            await self.app(scope, receive, send)

    def is_foreign(self, replacement: Any, scope: Scope) -> bool:
        """Tell whether another middleware has put a session of its own in the place of ours."""
        return self._scope_sessions.is_foreign(replacement)

    def content_of(self, replacement: Any, scope: Scope) -> Mapping[str, Any] | None:
        """Return what a replaced session shall hold, None to end it.

        Raises SessionError for what is no session at all.
        """
        if replacement is None or isinstance(replacement, Mapping):
            return replacement
        raise SessionError(
            f"scope['session'] was replaced by a {type(replacement).__qualname__}; it must be a "
            "mapping, or None to end the session"
        )

    def _take_over(self, visit: Visit, scope: Scope) -> None:
        session, replacement = visit.session, scope["session"]
        if self.is_foreign(replacement, scope):
            return  # what is inside goes on to use it
        scope["session"] = session
        content = self.content_of(replacement, scope)
        if content is None:
            # Whoever replaces a session has looked at it: the response depends on the cookie.
            session.accessed = True
            visit.invalidate()
        else:
            # Not by ``clear``: what stays the same is no change, and merges with other requests.
            for name in [name for name in session if name not in content]:
                del session[name]
            session.update(content)

    def _completed(self, message: Message, outcome: Outcome) -> Message:
        given = message.get("headers")
        if not given and outcome is VARY:
            return {**message, "headers": [self._only_vary]}
        headers = list(given or ())
        vary = [value for name, value in headers if name.lower() == b"vary"]
        if outcome is VARY and not vary:
            headers.append(self._only_vary)
        else:
            lines = self._answers.lines(outcome, [value.decode("latin-1") for value in vary])
            headers += [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in lines
            ]
        return {**message, "headers": headers}


def _is_made_by_a_call() -> bool:
    """Tell whether an application is being called just now: then nothing of it is imported."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if _OF_A_CALL.issubset(frame.f_locals):
            return True
        frame = frame.f_back
    return False


async def _send_readiness(scope: Scope, send: Send, readiness: Readiness) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in readiness.headers]
    await send({"type": "http.response.start", "status": readiness.status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" else readiness.body
    await send({"type": "http.response.body", "body": body})


def session_of(connection: HasScope) -> Session:
    """Return the session of a request or websocket of Starlette, FastAPI or Litestar, typed.

    ``request.session`` is the same object, which those frameworks declare to be a dict. Raises
    RuntimeError, saying what to add, when ClusterSessionMiddleware does not stand before the
    application.
    """
    session = connection.scope.get("session")
    if not isinstance(session, Session):
        found = "no session" if session is None else f"a session of {type(session).__module__}"
        raise RuntimeError(
            f"this application has {found}: add it with app.add_middleware("
            "ClusterSessionMiddleware, ...) from clustersession.asgi, and no other session "
            "middleware"
        )
    session.mark_accessed()
    return session


def _cookies_of(scope: Scope) -> bytes:
    cookies = b""
    for name, value in scope["headers"]:
        if name == b"cookie":
            # HTTP/2 allows several Cookie headers.
            cookies = cookies + b"; " + value if cookies else value
    return cookies


def _header_of(scope: Scope, wanted: str) -> str | None:
    key, found = wanted.lower().encode("latin-1"), None
    for name, value in scope["headers"]:
        if name == key:
            found = value.decode("latin-1")
    return found


def _without_parameter(scope: Scope, parameter: PathParameter) -> tuple[Scope, str | None]:
    path, value = parameter.split(scope["path"])
    if value is None:
        return scope, None
    stripped = {**scope, "path": path}
    if scope.get("raw_path"):
        stripped["raw_path"] = parameter.strip_raw(scope["raw_path"])
    return stripped, value
