"""Gives any WSGI application its session.

Many applications call ``start_response`` before they touch the session, so the headers wait until
the first part of the body is there: then changes are committed, and the cookie is set. What changes
while the body is produced is committed when it is closed; only a session that begins that late
cannot be kept, because its cookie cannot be sent.

When the application raises, what it had not saved is not committed.
"""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from clustersession.requests.answer import AnswerWriter
from clustersession.requests.late_changes import LateBody
from clustersession.requests.nesting import check_inside, expect_bridges
from clustersession.requests.opening import RequestOpener
from clustersession.requests.paths import ExcludedSession, MisleadingPath
from clustersession.requests.readiness import readiness
from clustersession.session.manager import SessionManager
from clustersession.session.visit import Visit
from clustersession.worker.runtime import Runtime

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
StartResponse = Callable[..., Callable[[bytes], object]]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]


class ClusterSessionMiddleware:
    """Gives every request's environ a session under ``environ_key``.

    Options are the settings by name, as for ``clustersession.asgi``. Raises ConfigurationError.
    """

    def __init__(
        self, app: WSGIApp, environ_key: str = "clustersession.session", **options: Any
    ) -> None:
        self.app = app
        self.runtime = Runtime.from_options(options)
        self._environ_key = environ_key
        settings = self.runtime.settings
        self._opener = RequestOpener(self.runtime, cookies_of, header_of)
        self._answers = AnswerWriter(settings)
        check_inside(app, self.runtime)
        expect_bridges()

    def start(self) -> None:
        """Join the cluster now, instead of at the first request: for a server's hooks.

        Call it in the process that serves, after the server has forked. Further calls do nothing.
        Raises ReplicaUnusable or ConfigurationError when the node cannot work here at all.
        """
        self.runtime.start()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        opener = self._opener
        if opener.ready_path and opener.ready_path == path_of(environ):
            answer = readiness(self.runtime)
            start_response(answer.status_line, answer.headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]
        outer = opener.join(environ, environ)
        if outer is not None:
            environ[self._environ_key] = outer.session
            return self.app(environ, start_response)
        manager = self.runtime.manager()
        # A copy, for one around us with another cookie, which is not to find ours in its place.
        environ = {**environ} if self._environ_key in environ else environ
        url_value = None
        if opener.url_parameter is not None:
            try:
                environ["PATH_INFO"], url_value = opener.url_parameter.split(environ["PATH_INFO"])
            except MisleadingPath as error:
                start_response("400 Bad Request", [("Content-Type", "text/plain; charset=utf-8")])
                return [str(error).encode()]
        path = environ.get("PATH_INFO", "")
        visit = opener.open(manager, environ, path, url_value, notes=environ)
        if visit is None:
            environ[self._environ_key] = ExcludedSession(manager)
            return self.app(environ, start_response)
        try:
            if visit.missing:
                manager.fetch(visit)
            environ[self._environ_key] = visit.session
            start = _Start(manager, visit, start_response, self._answers)
            body = self.app(environ, start)
            if not isinstance(body, (list, tuple)) or not start.known:
                return LateBody(manager, visit, body, start.send_headers_if_known)
            start.send_headers_if_known()
        except BaseException:
            manager.close(visit)
            raise
        manager.close(visit)
        return body


class _Start:
    """Is the application's start_response, and keeps the headers back until they are due."""

    def __init__(
        self, manager: SessionManager, visit: Visit, start_response: StartResponse,
        answers: AnswerWriter,
    ) -> None:
        self._manager = manager
        self._answers = answers
        self._visit = visit
        self._start_response = start_response
        self._held: tuple[str, Headers, ExcInfo | None] | None = None
        self._server_write: Callable[[bytes], object] | None = None

    def __call__(
        self, status: str, headers: Headers, exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        if self._server_write is not None:
            # Headers are out: only the server may judge whether an error can still replace them.
            return self._start_response(status, headers, exc_info)
        self._held = (status, headers, exc_info)
        return self._write

    @property
    def known(self) -> bool:
        """Tell whether the application has called start_response and its headers wait."""
        return self._held is not None

    def send_headers_if_known(self) -> None:
        """Commit and hand the headers to the server, once."""
        if self._held is None:
            return
        status, headers, exc_info = self._held
        outcome = self._manager.commit(self._visit)
        self._held = None
        arguments = (exc_info,) if exc_info else ()
        if outcome.vary:
            vary = (value for name, value in headers if name.lower() == "vary")
            headers = [*headers, *self._answers.lines(outcome, vary)]
        self._server_write = self._start_response(status, headers, *arguments)

    def _write(self, data: bytes) -> object:
        self.send_headers_if_known()
        assert self._server_write is not None
        return self._server_write(data)


def cookies_of(environ: Environ) -> str:
    """Return the Cookie header of a request, empty without any."""
    cookies: str = environ.get("HTTP_COOKIE", "")
    return cookies


def header_of(environ: Environ, name: str) -> str | None:
    """Return another header of a request."""
    return environ.get(f"HTTP_{name.upper().replace('-', '_')}")


def path_of(environ: Environ) -> str:
    """Return the whole path of a request, that of the mounted application included."""
    return f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"

