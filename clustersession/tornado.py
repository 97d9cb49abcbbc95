"""Gives the handlers of a Tornado application their session.

    app = Application([("/", Home)])
    ClusterSession(app, distributable=True)

    class Home(ClusterSessionMixin, RequestHandler):
        def get(self) -> None:
            self.session["visits"] = self.session.get("visits", 0) + 1

Changes are committed before the headers of the answer go out. While peers confirm, ``flush`` and
``finish`` wait for that without blocking the event loop: the futures that they return are done when
the answer was sent. What is changed later, in a streamed body, after ``finish`` or in an open
websocket, is committed when the handler ends, or at once by ``session.asave()``; only a session
that begins that late cannot be kept, because its cookie cannot be sent.

When a handler raises anything but an ``HTTPError`` or ``Finish``, what it had not saved is not
committed. A client that goes away is no failure of the application: what was changed until then is
committed.

``session.clear()`` ends the session on every node, as under the other asynchronous frameworks; so
do ``clear_all_cookies()`` and ``clear_cookie`` with the session's cookie.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from clustersession.core.errors import ConfigurationError
from clustersession.requests.answer import AnswerWriter
from clustersession.requests.late_changes import save_late_async
from clustersession.requests.opening import RequestOpener, refuse_url_parameter
from clustersession.requests.paths import ExcludedSession
from clustersession.requests.readiness import readiness_async
from clustersession.session.events import Callback, Events
from clustersession.session.outcome import Outcome
from clustersession.session.session import Session
from clustersession.session.visit import Visit
from clustersession.worker.runtime import Runtime

_SETTING = "clustersession"
"""Under which name an application's settings have what serves it."""

_SWITCHING_PROTOCOLS = 101


class ClusterSession:
    """Has the handlers of an application find their sessions, and answers health checks.

    Options are those of ``clustersession.asgi.ClusterSessionMiddleware``, ``listeners`` included.
    It is then found as ``app.settings["clustersession"]``. Raises ConfigurationError.
    """

    def __init__(
        self, app: Application, *, listeners: Events | None = None, **options: Any
    ) -> None:
        self.runtime = Runtime.from_options({**options, "listeners": listeners})
        settings = self.runtime.settings
        refuse_url_parameter(
            settings,
            "it works with clustersession.asgi and clustersession.wsgi. Tornado chooses the "
            "handler by the path as it came",
        )
        self.opener = RequestOpener(self.runtime, _cookies_of, _header_of, clearing_ends=True)
        self.answers = AnswerWriter(settings)
        if _SETTING in app.settings:
            raise ConfigurationError("this application has a ClusterSession already")
        app.settings[_SETTING] = self
        if settings.ready_path:
            path = re.escape(settings.ready_path)
            app.add_handlers(".*", [(path, ReadinessHandler, {"runtime": self.runtime})])

    def start(self) -> None:
        """Join the cluster now, instead of at the first request.

        Call it in the process that serves, after ``fork_processes``. Further calls do nothing.
        Raises ReplicaUnusable or ConfigurationError when the node cannot work here at all.
        """
        self.runtime.start()

    def close(self) -> None:
        """Let go of what this process opened, when its server has stopped."""
        self.runtime.close()

    def on(self, kind: str, callback: Callback | None = None) -> Any:
        """Have a callback called for events of a kind; also a decorator. See ``session.events``.

        Raises ValueError for a kind that does not exist.
        """
        return self.runtime.on(kind, callback)


class ReadinessHandler(RequestHandler):
    """Answers the health checks of a balancer."""

    def initialize(self, runtime: Runtime) -> None:
        """Take the runtime that is asked; called by Tornado."""
        self._runtime = runtime

    async def prepare(self) -> None:
        """Answer, whatever the method is."""
        found = await readiness_async(self._runtime)
        self.set_status(found.status)
        for name, value in found.headers:
            self.set_header(name, value)
        await self.finish(found.body)


class _Stay:
    """Holds what one request knows of its session, and commits it.

    visit: None on an excluded path, where ``session`` refuses every change. outcome: what the
    headers are to say, once that is known. failed: the handler has failed, and nothing is committed
    any more. settling: the commit before the headers go out, once it has begun.
    """

    def __init__(self, extension: ClusterSession, request: HTTPServerRequest) -> None:
        self.manager = extension.runtime.manager()
        # Tornado takes no percent-encoding out of the path.
        path = unquote(request.path)
        self.visit = extension.opener.open(self.manager, request, path, notes={})
        excluded = self.visit is None
        self.session = ExcludedSession(self.manager) if excluded else _session_of(self.visit)
        self.outcome: Outcome | None = None
        self.failed = False
        self.settling: asyncio.Task[None] | None = None

    @property
    def owing(self) -> Visit | None:
        """Return the visit when the client is still to be told of it."""
        # A commit that had begun may have given the session a new id.
        given_up = self.failed and (self.settling is None or self.settling.done())
        return None if given_up or self.outcome is not None else self.visit

    async def fetch(self) -> None:
        """Have the session fetched, if it is not here."""
        if self.visit is not None and self.visit.missing:
            await self.manager.fetch_async(self.visit)

    def settle_at_once(self, visit: Visit) -> None:
        """Commit; blocks if there is anything to commit."""
        self.outcome = self.manager.commit(visit)

    async def settle(self) -> None:
        """Commit, once, however many wait for it."""
        if self.settling is None and (visit := self.owing) is not None:
            self.settling = asyncio.ensure_future(self._settle(visit))
        if self.settling is not None:
            await asyncio.shield(self.settling)

    async def _settle(self, visit: Visit) -> None:
        self.outcome = await self.manager.commit_async(visit)

    async def save_late(self) -> None:
        """Commit what has changed since the headers went out."""
        if self.visit is not None and not self.failed:
            await save_late_async(self.manager, self.visit)

    def close(self) -> None:
        """End the request."""
        if self.visit is not None:
            self.manager.close(self.visit)


class ClusterSessionMixin(RequestHandler):
    """Has a handler, of requests or of a websocket, with a ``session``; to be named first.

    __sending: what finishes the answer, where that had to wait.
    """

    __stay: _Stay | None = None
    __sending: "asyncio.Task[None] | None" = None

    @property
    def session(self) -> Session:
        """Return the session. Raises RuntimeError when the application has no ``ClusterSession``.

        Where Tornado has refused a request before ``prepare``, as with a wrong XSRF token, it may
        have to block until a peer has answered.
        """
        stay = self.__stay or self.__open()
        if stay.visit is not None and stay.visit.missing:
            stay.manager.fetch(stay.visit)
        return stay.session

    def __open(self) -> _Stay:
        self.__stay = stay = _Stay(self.__extension, self.request)
        return stay

    @property
    def __extension(self) -> ClusterSession:
        extension = self.settings.get(_SETTING)
        if not isinstance(extension, ClusterSession):
            raise RuntimeError(
                "this application has no sessions: add them with ClusterSession(app, ...) from "
                "clustersession.tornado"
            )
        return extension

    # Tornado's own method around everything that is done for a request: a handler's ``prepare``
    # need not call ours, and it returns when the handler has, or when a websocket was closed.
    async def _execute(self, *args: Any, **kwargs: Any) -> None:
        prepare: Callable[[], Awaitable[None] | None] = self.prepare

        async def prepare_with_session() -> None:
            stay = self.__stay or self.__open()
            await stay.fetch()
            awaitable = prepare()
            if awaitable is not None:
                await awaitable
            if isinstance(self, WebSocketHandler) and not self._finished and stay.owing:
                # The acceptance, which can wait for nothing, is to find it done.
                await stay.manager.save_async(stay.owing)

        self.prepare = prepare_with_session  # type: ignore[method-assign]
        try:
            await super()._execute(*args, **kwargs)
        finally:
            self.__dict__.pop("prepare", None)
            if self.__stay is not None:
                await self.__leave(self.__stay)

    async def __leave(self, stay: _Stay) -> None:
        """Commit what has changed since the answer, and end the request."""
        try:
            if self.__sending is not None:
                await asyncio.wait([self.__sending])
            await stay.save_late()
        except Exception:
            self.log_exception(*sys.exc_info())
        finally:
            stay.close()

    def flush(self, include_footers: bool = False) -> "asyncio.Future[None]":
        """Do what Tornado's does, after a commit if the headers have not gone out yet."""
        if self.__must_wait():
            return _observed(asyncio.ensure_future(self.__flush_later()))
        stay = self.__stay
        if not self._headers_written and stay is not None and stay.outcome:
            self.__tell(stay.outcome)
        return super().flush(include_footers)

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> "asyncio.Future[None]":
        """Do what Tornado's does, after a commit if there is something to commit."""
        if self._finished or not self.__must_wait():
            return super().finish(chunk)
        if chunk is not None:
            self.write(chunk)
        # To the handler it is finished from now on, as ever.
        self._finished = True
        self.__sending = _observed(asyncio.ensure_future(self.__finish_later()))
        return self.__sending

    def __must_wait(self) -> bool:
        """Tell whether an answer has to wait for a commit; where it need not, it is settled now."""
        stay = self.__stay
        if self._headers_written or stay is None or (visit := stay.owing) is None:
            return False
        if stay.settling is not None:
            return True
        accepts_websocket = self.get_status() == _SWITCHING_PROTOCOLS
        if accepts_websocket or stay.manager.owes_nothing(visit):
            stay.settle_at_once(visit)
            return False
        return True

    async def __flush_later(self) -> None:
        if self.__stay is not None:
            await self.__stay.settle()
        if not self._finished:  # then ``finish`` sends everything
            await self.flush()

    async def __finish_later(self) -> None:
        try:
            if self.__stay is not None:
                await self.__stay.settle()
        except Exception:
            self._finished = False
            self.log_exception(*sys.exc_info())
            self.send_error(500, exc_info=sys.exc_info())
        else:
            self._finished = False
            await super().finish()

    def __tell(self, outcome: Outcome) -> None:
        if outcome.vary:
            vary = self._headers.get_list("Vary")
            for name, value in self.__extension.answers.lines(outcome, vary):
                self.add_header(name, value)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Do what Tornado's does; after any exception but an HTTPError nothing is committed."""
        self.__judge(kwargs.get("exc_info", (None, None))[1])
        super().send_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Do what Tornado's does; it is all that the callbacks of a websocket have of this kind."""
        self.__judge(value)
        super().log_exception(typ, value, tb)

    def __judge(self, error: BaseException | None) -> None:
        if self.__stay is None or error is None or isinstance(error, HTTPError):
            return
        self.__stay.failed |= not (isinstance(error, _OF_A_CLIENT_THAT_LEFT) and self.__has_left())

    def __has_left(self) -> bool:
        stream = getattr(self.request.connection, "stream", None)
        return stream is None or stream.closed()

    def clear_cookie(self, name: str, **kwargs: Any) -> None:
        """Do what Tornado's does; without its cookie the session is over, on every node."""
        stay = self.__stay
        if stay is None or stay.visit is None:
            super().clear_cookie(name, **kwargs)
        elif name == stay.manager.settings.cookie_name:
            self.session.invalidate()
        elif name != stay.manager.seen_cookie_name:
            super().clear_cookie(name, **kwargs)


_OF_A_CLIENT_THAT_LEFT = (StreamClosedError, WebSocketClosedError)


def _observed(task: "asyncio.Task[None]") -> "asyncio.Task[None]":
    """Have nobody complain of an exception that no handler waits for, as with Tornado's futures."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _session_of(visit: Visit | None) -> Session:
    assert visit is not None
    assert isinstance(visit.session, Session)
    return visit.session


def _cookies_of(request: HTTPServerRequest) -> str:
    return "; ".join(request.headers.get_list("Cookie"))


def _header_of(request: HTTPServerRequest, name: str) -> str | None:
    return request.headers.get(name)


__all__ = ["ClusterSession", "ClusterSessionMixin", "ReadinessHandler", "Session"]
