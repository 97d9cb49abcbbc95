"""Gives aiohttp's web applications their session.

    app = web.Application()
    ClusterSession(app, distributable=True)

    async def page(request: web.Request) -> web.Response:
        session = session_of(request)

Changes are committed before the headers of the answer go out, whichever answer it is: a response, a
raised ``HTTPFound``, a prepared ``StreamResponse``, the acceptance of a websocket. What is changed
later is committed when the handler ends or the body was sent, or at once by ``session.asave()``;
only a session that begins that late cannot be kept, because its cookie cannot be sent.

When the handler raises anything but an ``HTTPException``, what it had not saved is not committed. A
client that goes away is no failure of the application: what was changed until then is committed.

``session.clear()`` ends the session on every node, as under the other asynchronous frameworks.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.http import StreamWriter

from clustersession.core.errors import ConfigurationError
from clustersession.requests.answer import AnswerWriter
from clustersession.requests.late_changes import save_late_async
from clustersession.requests.opening import RequestOpener, refuse_url_parameter
from clustersession.requests.paths import ExcludedSession
from clustersession.requests.readiness import readiness_async
from clustersession.session.events import Callback, Events
from clustersession.session.manager import SessionManager
from clustersession.session.outcome import Outcome
from clustersession.session.session import Session
from clustersession.session.visit import Visit
from clustersession.worker.runtime import Runtime

_log = logging.getLogger("clustersession")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_NOTES = web.RequestKey("clustersession", dict[str, Any])
"""The notes of a request, which an application inside another one finds."""

_SESSION = "session"
"""The session among the notes."""


class ClusterSession:
    """Adds the session to an application, and joins the cluster when its server starts.

    Options are those of ``clustersession.asgi.ClusterSessionMiddleware``, ``listeners`` included.
    Its middleware is the outermost of those that the application has so far. Raises
    ConfigurationError.

    _late: commits that still run although their requests are over. _told: under which name the
        notes have what the answer says; another answer, an error's, may take its place.
    """

    def __init__(
        self, app: web.Application, *, listeners: Events | None = None, **options: Any
    ) -> None:
        self.runtime = Runtime.from_options({**options, "listeners": listeners})
        settings = self.runtime.settings
        refuse_url_parameter(
            settings,
            "it works with clustersession.asgi and clustersession.wsgi. aiohttp chooses the route "
            "before any middleware runs",
        )
        self._opener = RequestOpener(self.runtime, _cookies_of, _header_of, clearing_ends=True)
        self._answers = AnswerWriter(settings)
        self._told = f"{self._opener.place}.told.{id(self)}"
        self._late: set[asyncio.Task[None]] = set()
        if any(isinstance(getattr(m, "__self__", None), ClusterSession) for m in app.middlewares):
            raise ConfigurationError("this application has a ClusterSession already")
        app.middlewares.insert(0, self._serve)
        app.on_response_prepare.append(self._answer)
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._close)

    def on(self, kind: str, callback: Callback | None = None) -> Any:
        """Have a callback called for events of a kind; also a decorator. See ``session.events``.

        Raises ValueError for a kind that does not exist.
        """
        return self.runtime.on(kind, callback)

    async def _start(self, app: web.Application) -> None:
        self.runtime.start()

    async def _close(self, app: web.Application) -> None:
        await asyncio.gather(*self._late)
        self.runtime.close()

    @web.middleware
    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve one request: this is the middleware."""
        opener = self._opener
        if opener.ready_path and opener.ready_path == request.path:
            found = await readiness_async(self.runtime)
            return web.Response(status=found.status, body=found.body, headers=found.headers)
        notes = request.get(_NOTES)
        if notes is None:
            request[_NOTES] = notes = {}
        if opener.join(request, notes) is not None:
            return await handler(request)
        outer = notes.get(_SESSION)
        try:
            return await self._open_and_serve(request, handler, notes)
        finally:
            if outer is not None:
                # Of an application around this one, which has another cookie.
                notes[_SESSION] = outer

    async def _open_and_serve(
        self, request: web.Request, handler: Handler, notes: dict[str, Any]
    ) -> web.StreamResponse:
        opener, manager = self._opener, self.runtime.manager()
        visit = opener.open(manager, request, request.path, notes=notes)
        if visit is None:
            notes[_SESSION] = ExcludedSession(manager)
            return await handler(request)
        # aiohttp gives each request a task, which ends when its answer is sent.
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(partial(self._end, manager, visit))
        try:
            if visit.missing:
                await manager.fetch_async(visit)
            notes[_SESSION] = visit.session
            return await self._serve_with(manager, visit, request, handler)
        except web.HTTPException:
            raise
        except BaseException as error:
            # The error page, which others make, is to find nothing to commit.
            del notes[opener.place]
            if isinstance(error, _OF_A_CLIENT_THAT_LEFT) and _has_left(request):
                await save_late_async(manager, visit)
            visit.discarded = True
            raise

    async def _serve_with(
        self, manager: SessionManager, visit: Visit, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Save what the handler has changed where a failure to do so is still answered with 500."""
        try:
            response = await handler(request)
        except web.HTTPException:
            await _save(manager, visit)
            raise
        await _save(manager, visit)
        return response

    async def _answer(self, request: web.Request, response: web.StreamResponse) -> None:
        """Commit, and tell the client in the headers, which are about to go out."""
        notes = request.get(_NOTES, {})
        outcome = notes.get(self._told)
        if outcome is None:
            visit = notes.get(self._opener.place)
            if not isinstance(visit, Visit) or visit.answered:
                return
            if visit.opened_by is not self._opener:
                return
            outcome = notes[self._told] = await self._commit(request, visit)
        if outcome.vary:
            lines = self._answers.lines(outcome, response.headers.getall("Vary", ()))
            response.headers.extend(lines)

    async def _commit(self, request: web.Request, visit: Visit) -> Outcome:
        try:
            return await self.runtime.manager().commit_async(visit)
        except BaseException:
            if isinstance(request.writer, StreamWriter):
                # aiohttp has prepared it for this answer; the error page that follows has a length.
                request.writer.chunked = False
            raise

    def _end(self, manager: SessionManager, visit: Visit, task: asyncio.Task[Any]) -> None:
        """Close the visit; commit first what has changed while the body was sent."""
        if not task.cancelled() and task.exception() is None and visit.answered and visit.touched:
            late = task.get_loop().create_task(self._end_late(manager, visit))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
        else:
            manager.close(visit)

    async def _end_late(self, manager: SessionManager, visit: Visit) -> None:
        try:
            await save_late_async(manager, visit)
        except Exception:
            _log.exception("what a response changed while it was sent was not saved")
        finally:
            manager.close(visit)


_OF_A_CLIENT_THAT_LEFT = (ConnectionError, asyncio.CancelledError)
"""What a handler gets that writes to such a client, or that aiohttp was told to cancel."""


def _has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def _save(manager: SessionManager, visit: Visit) -> None:
    if visit.answered:
        await save_late_async(manager, visit)
    elif not manager.owes_nothing(visit):
        await manager.save_async(visit)


def session_of(request: web.BaseRequest) -> Session:
    """Return the session of a request or of a websocket's handshake.

    Raises RuntimeError, saying what to add, when the application has no ``ClusterSession``.
    """
    session = request.get(_NOTES, {}).get(_SESSION)
    if not isinstance(session, Session):
        raise RuntimeError(
            "this application has no session: add it with ClusterSession(app, ...) from "
            "clustersession.aiohttp, before its server starts"
        )
    return session


def _cookies_of(request: web.Request) -> str:
    return "; ".join(request.headers.getall("Cookie", ()))


def _header_of(request: web.Request, name: str) -> str | None:
    return request.headers.get(name)


__all__ = ["ClusterSession", "Session", "session_of"]
