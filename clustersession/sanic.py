"""Keeps ``request.ctx.session`` of a Sanic application in the cluster.

    ClusterSession(app, distributable=True)

The node joins before the server starts, in each worker and not in the process that manages them.
It is the same under Sanic's own server and under an ASGI server. With ``ClusterSessionMiddleware``
of ``clustersession.asgi`` around the application the session is that of the middleware, which
answers.

Changes are committed when the response is made, after all response middleware. What a streamed
response changes is committed when its handler ends, or at once by ``await session.asave()``. An
exception that is answered with 500 or more commits nothing.

The answer to a websocket's handshake has gone before its handler begins, and Sanic lets nobody add
a header to it. So a session cannot begin there; one that the client has is open to read and write,
and is committed when the handler ends or the client goes away, or at once by ``asave``.
"""

import sys
from collections.abc import MutableMapping
from typing import Any

from sanic import HTTPResponse, Request, Sanic
from sanic.response import BaseHTTPResponse

from clustersession.core.errors import ConfigurationError, SessionError
from clustersession.requests.answer import AnswerWriter
from clustersession.requests.late_changes import save_late_async
from clustersession.requests.opening import RequestOpener, refuse_url_parameter
from clustersession.requests.paths import ExcludedSession
from clustersession.requests.readiness import readiness_async
from clustersession.session.events import Callback
from clustersession.session.outcome import Outcome
from clustersession.session.session import Session
from clustersession.session.visit import Visit
from clustersession.worker.runtime import Runtime

AnyApp = Sanic[Any, Any]
AnyRequest = Request[Any, Any]

_BEFORE_ALL_OTHERS = sys.maxsize
_NOTE = "clustersession"
"""Under which name the contexts of application, request and connection have what is ours."""
_FAILED = "clustersession_failed"
"""What the context of a request has when its handler raised."""
_TOLD = "clustersession_told"
"""Under which name the context of a request has what its response says, and the response."""


class ClusterSession:
    """Is the extension: ``ClusterSession(app)``, or ``init_app(app)`` for factories.

    Options are those of ``clustersession.asgi.ClusterSessionMiddleware``, ``listeners`` included.
    Raises ConfigurationError.
    """

    def __init__(self, app: AnyApp | None = None, **options: Any) -> None:
        self.runtime = Runtime.from_options(options)
        refuse_url_parameter(
            self.runtime.settings,
            "Sanic chooses the route before any middleware runs. Use an ASGI server and put "
            "ClusterSessionMiddleware of clustersession.asgi around the application instead",
        )
        self._opener = RequestOpener(self.runtime, _cookies_of, _header_of, clearing_ends=True)
        self._answers = AnswerWriter(self.runtime.settings)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: AnyApp) -> None:
        """Give the application's requests their session; opens nothing.

        The extension is then found as ``app.ctx.clustersession``. Raises ConfigurationError when
        there is one already.
        """
        if hasattr(app.ctx, _NOTE):
            raise ConfigurationError(f"the application {app.name!r} has a ClusterSession already")
        app.request_class = _answered_by(self, app.request_class or Request)
        app.register_middleware(self._open, "request", priority=_BEFORE_ALL_OTHERS)
        app.register_listener(self._join, "before_server_start")
        app.register_listener(self._leave, "after_server_stop")
        for event, handler in (
            ("http.lifecycle.exception", self._note_failure),
            ("http.lifecycle.response", self._end_response),
            ("http.lifecycle.complete", self._end_connection),
            ("http.handler.after", self._end_websocket),
            ("websocket.handler.before", self._begin_websocket),
            ("websocket.handler.exception", self._drop_changes),
        ):
            app.add_signal(handler, event)
        setattr(app.ctx, _NOTE, self)

    def start(self) -> None:
        """Join the cluster now, where no server calls the application's listeners.

        Further calls do nothing. Raises ReplicaUnusable or ConfigurationError when the node cannot
        work here at all.
        """
        self.runtime.start()

    def on(self, kind: str, callback: Callback | None = None) -> Any:
        """Have a callback called for events of a kind; also a decorator. See ``session.events``.

        Raises ValueError for a kind that does not exist.
        """
        return self.runtime.on(kind, callback)

    async def answer(self, request: AnyRequest, response: BaseHTTPResponse) -> None:
        """Commit, and write into the response's headers what the client has to know."""
        told = getattr(request.ctx, _TOLD, None)
        if told is not None:
            outcome, told_by = told
            if told_by is not response:  # given up for this one
                self._tell(response, outcome)
            return
        visit = _visit_of(request)
        if visit is None or visit.answered:
            return
        if response.status >= 500 and hasattr(request.ctx, _FAILED):
            self._drop(visit)
            return
        _refuse_replacement(request, visit)
        if visit.opened_by is not self._opener:
            return  # the middleware around the application answers
        outcome = await self.runtime.manager().commit_async(visit)
        setattr(request.ctx, _TOLD, (outcome, response))
        self._tell(response, outcome)

    def _tell(self, response: BaseHTTPResponse, outcome: Outcome) -> None:
        if outcome.vary:
            vary = response.headers.getall("vary", [])
            for name, value in self._answers.lines(outcome, vary):
                response.headers.add(name, value)

    async def _join(self, app: AnyApp) -> None:
        self.runtime.start()

    async def _leave(self, app: AnyApp) -> None:
        self.runtime.close()

    async def _open(self, request: AnyRequest) -> HTTPResponse | None:
        """Open the session of a request, or answer a health check."""
        opener = self._opener
        if hasattr(request.ctx, _NOTE):
            return None  # for an error page the middleware runs once more
        if opener.ready_path and request.path == opener.ready_path:
            found = await readiness_async(self.runtime)
            return HTTPResponse(found.body, found.status, dict(found.headers))
        notes: MutableMapping[str, Any] = (
            request.scope if request.app.asgi else vars(request.ctx)  # type: ignore[assignment]
        )
        manager = self.runtime.manager()
        outer = opener.join(request, notes)
        visit = outer or opener.open(manager, request, request.path, notes=notes)
        if visit is None:
            request.ctx.session = ExcludedSession(manager)
            return None
        setattr(request.ctx, _NOTE, visit)
        if outer is None:
            if request.conn_info is not None:
                setattr(request.conn_info.ctx, _NOTE, visit)
            if visit.missing:
                await manager.fetch_async(visit)
        request.ctx.session = visit.session
        return None

    async def _end_response(self, request: AnyRequest, response: BaseHTTPResponse) -> None:
        await self._end(_visit_of(request))

    async def _begin_websocket(self, request: AnyRequest, websocket: Any) -> None:
        visit = _visit_of(request)
        if visit is not None:
            visit.answered = True  # whether or not anything is to be saved: no header can follow

    async def _end_websocket(self, request: AnyRequest) -> None:
        """End what ``websocket.handler.after`` says nothing of: a client that went away, too."""
        visit = _visit_of(request)
        if visit is not None and visit.answered and not request.responded:
            await self._end(visit)

    async def _end_connection(self, conn_info: Any) -> None:
        """End the request of a client that went away in the middle of a streamed response."""
        await self._end(getattr(conn_info.ctx, _NOTE, None))

    async def _note_failure(self, request: AnyRequest, exception: Exception) -> None:
        """Remember a failure for its answer; drop what changed after the headers went out."""
        visit = _visit_of(request)
        if visit is not None and visit.answered:
            self._drop(visit)
        elif visit is not None:
            setattr(request.ctx, _FAILED, True)

    async def _drop_changes(
        self, request: AnyRequest, websocket: Any, exception: Exception
    ) -> None:
        visit = _visit_of(request)
        if visit is not None:
            self._drop(visit)

    def _drop(self, visit: Visit) -> None:
        """Have nothing more of a request committed: half of it is not the user's state."""
        if visit.opened_by is self._opener:
            self.runtime.manager().close(visit)
        else:
            visit.discarded = True

    async def _end(self, visit: Visit | None) -> None:
        """Commit what nothing has committed, and note that the request is over."""
        if visit is None or not visit.is_open or visit.opened_by is not self._opener:
            return
        manager = self.runtime.manager()
        try:
            await save_late_async(manager, visit)
        finally:
            manager.close(visit)


def session_of(request: AnyRequest) -> Session:
    """Return the session of a request or websocket, typed; ``request.ctx.session`` is the same.

    Raises RuntimeError, saying what to add, when the application has none of ours.
    """
    session = getattr(request.ctx, "session", None)
    if not isinstance(session, Session):
        raise RuntimeError(
            "this request has no session of ours: add ClusterSession(app, ...) of "
            "clustersession.sanic, and no other session extension"
        )
    session.mark_accessed()
    return session


def _answered_by(extension: ClusterSession, base: type[AnyRequest]) -> type[AnyRequest]:
    """Make a request class whose responses are completed when nothing changes them any more.

    No response middleware can do that: one that returns a response keeps the next from running, and
    what one raises is logged while the response goes out.
    """

    async def respond(self: Any, *arguments: Any, **named: Any) -> Any:
        response = await base.respond(self, *arguments, **named)
        if isinstance(response, BaseHTTPResponse):
            await extension.answer(self, response)
        return response

    return type(base.__name__, (base,), {"__slots__": (), "respond": respond})


def _refuse_replacement(request: AnyRequest, visit: Visit) -> None:
    if getattr(request.ctx, "session", None) is not visit.session:
        raise SessionError(
            "request.ctx.session was replaced: change it by update() and clear(), end it by "
            "invalidate(), and let no other session extension put its own there"
        )


def _visit_of(request: AnyRequest) -> Visit | None:
    """Return the visit of a request that is not over, opened here or around the application."""
    visit: Visit | None = getattr(request.ctx, _NOTE, None)
    return visit if visit is not None and visit.is_open else None


def _cookies_of(request: AnyRequest) -> str:
    """Return the Cookie headers of a request in one: HTTP/2 allows several."""
    return "; ".join(request.headers.getall("cookie", []))


def _header_of(request: AnyRequest, name: str) -> str | None:
    return request.headers.get(name)


__all__ = ["ClusterSession", "Session", "session_of"]
