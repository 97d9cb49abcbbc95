"""Keeps ``flask.session`` in the cluster.

    app.config["DISTRIBUTABLE"] = True
    ClusterSession(app)

Settings come from, in order: keyword arguments; ``app.config["CLUSTERSESSION_<NAME>"]`` and
``app.config["DISTRIBUTABLE"]``; the environment and a file (see ``settings.sources``); Flask's
own ``SESSION_COOKIE_*``, ``PERMANENT_SESSION_LIFETIME``, ``SESSION_REFRESH_EACH_REQUEST``,
``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``, and Flask-Session's settings where they mean something
(see ``flask.config``). They are read at the first request, or by ``start``; unknown names, and
values that are wrong in any case, are refused when the extension is made.

Flask's default cookie name, ``session``, is not used: httpd prefers a query parameter of that
name. As Flask cannot tell its default from the same name written by a user, ``session`` is only
taken from ``CLUSTERSESSION_COOKIE_NAME`` or the keyword argument.

``session.clear()`` is the logout of most Flask applications, so here it ends the session on every
node; what is set afterwards begins a new one, under a new id.

Like Flask's own sessions, changes are committed with error responses too. What a streamed response
changes is committed when it is closed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from flask import Flask, Request, Response, has_request_context, request
from flask import session as _flask_session
from flask.sessions import SessionInterface, SessionMixin

from clustersession.flask.commands import run_command
from clustersession.flask.config import check_so_far
from clustersession.flask.interface import ClusterInterface
from clustersession.flask.logins import follow_logins
from clustersession.requests.late_changes import save_late
from clustersession.requests.nesting import expect_bridges
from clustersession.requests.readiness import readiness
from clustersession.session.events import Callback, Events
from clustersession.session.manager import SessionManager
from clustersession.session.session import Session
from clustersession.session.visit import visit_of
from clustersession.worker.runtime import Runtime

SessionMixin.register(Session)

session = cast(Session, _flask_session)
"""``flask.session``, typed as what it is: for calls of ``rotate``, ``invalidate`` and the like."""


class ClusterSession:
    """Is the extension: ``ClusterSession(app)``, or ``init_app(app)`` for factories.

    ``listeners``, an ``Events``, has the callbacks of ``on`` from elsewhere. ``follow_logins``: see
    ``flask.logins``.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        listeners: Events | None = None,
        follow_logins: bool = True,
        **options: Any,
    ) -> None:
        self._options = options
        self._follow_logins = follow_logins
        self.events = Events() if listeners is None else listeners
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Replace the application's session interface; opens nothing.

        The extension is then found as ``app.extensions["clustersession"]``. Raises
        ConfigurationError for what is wrong with the settings so far.
        """
        check_so_far(app, self._options)
        interface = ClusterSessionInterface(self._options, self.events)
        interface.looks_for_logins = self._follow_logins
        app.session_interface = interface
        expect_bridges()
        app.extensions["clustersession"] = self
        app.cli.add_command(run_command)
        # Not by app.teardown_request, which is refused once the application serves.
        after = app.teardown_request_funcs.setdefault(None, [])
        after.append(partial(_close_unanswered, interface))

    def start(self, app: Flask) -> None:
        """Join the cluster now, instead of at the first request: for a server's hooks.

        Call it after ``init_app``, in the process that serves, after the server has forked, and
        when the application's configuration is complete. Further calls do nothing.
        Raises ReplicaUnusable or ConfigurationError when the node cannot work here at all, and
        RuntimeError for an application that this extension does not serve.
        """
        interface = app.session_interface
        if not isinstance(interface, ClusterSessionInterface):
            raise RuntimeError("call init_app of ClusterSession on this application first")
        interface.runtime(app).start()

    def on(self, kind: str, callback: Callback | None = None) -> Any:
        """Have a callback called for events of a kind; also a decorator. See ``session.events``.

        Raises ValueError for a kind that does not exist.
        """
        return self.events.on(kind, callback)


class ClusterSessionInterface(ClusterInterface, SessionInterface):
    """Implements Flask's session interface over a session manager.

    Attributes:
        looks_for_logins: at the first request, what logs users in is to be followed; then False.
    """

    looks_for_logins = False

    def health_checks(self, runtime: Runtime) -> Callable[[], object]:
        """Return what answers a request for ``ready_path``, and any other with None."""
        def answer_checks() -> Response | None:
            if request.root_path + request.path != runtime.settings.ready_path:
                return None
            found = readiness(runtime)
            return Response(found.body, found.status, found.headers)

        return answer_checks

    def cookies_of(self, request: Request) -> str:
        """Return the Cookie header of a request, empty without any."""
        cookies: str = request.environ.get("HTTP_COOKIE", "")
        return cookies

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name of the cookie, for extensions that ask."""
        return self.runtime(app).settings.cookie_name

    def open_session(self, app: Flask, request: Request) -> SessionMixin | None:
        """Open the session of a request; None, for Flask's null session, on an excluded path."""
        runtime = self.runtime(app)
        if self.looks_for_logins:
            self.looks_for_logins = False
            follow_logins(app)
        visit = self.begin(runtime, request, request.environ)
        if visit is None:
            return None
        if visit.missing:
            runtime.manager().fetch(visit)
        return cast(SessionMixin, visit.session)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Commit, and set the cookie where it is needed."""
        if not isinstance(session, Session):
            return
        visit = visit_of(session)
        self.before_commit(session)
        if not self.is_ours(visit):
            return
        manager = self.runtime(app).manager()
        if _is_of_a_socket():
            visit.answered = True
            _save_and_close(manager, session)
            return
        self.answer(manager.commit(visit), response.headers.add, response.vary)
        if response.is_streamed:
            response.call_on_close(partial(_save_and_close, manager, session))
        else:
            manager.close(visit)


def _is_of_a_socket() -> bool:
    """Tell whether the response that is to be sent only exists because Flask wants one.

    It is so in a handler of a websocket, and in each event of Flask-SocketIO, which marks the
    request with them. What begins there could not be told to the client.
    """
    if not has_request_context():
        return False
    is_event = hasattr(request, "sid") and hasattr(request, "namespace")
    return is_event or "HTTP_SEC_WEBSOCKET_KEY" in request.environ


def _save_and_close(manager: SessionManager, session: Session) -> None:
    """Commit what no header can follow, and end the visit."""
    visit = visit_of(session)
    try:
        save_late(manager, visit)
    finally:
        manager.close(visit)


def _close_unanswered(interface: ClusterSessionInterface, error: BaseException | None) -> None:
    """Close the visit of a request that is not answered, because an error goes to the server."""
    visit = interface.opened_for(request.environ)
    if visit is not None and not visit.answered:
        SessionManager.close(visit)
