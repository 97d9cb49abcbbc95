"""Flask extension: ``flask.session`` as it always was, held by the cluster.

    app.config["DISTRIBUTABLE"] = True
    ClusterSession(app)

Settings come from, in order: keyword arguments; ``app.config["CLUSTERSESSION_<NAME>"]`` and
``app.config["DISTRIBUTABLE"]``; the environment and a file (see ``cluster.configuration``); Flask's
own ``SESSION_COOKIE_*``, ``PERMANENT_SESSION_LIFETIME``, ``SESSION_REFRESH_EACH_REQUEST``,
``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``. They are read at the first request, or by ``start``.

Flask's default cookie name, ``session``, is not used: httpd prefers a query parameter of that
name. As Flask cannot tell its default from the same name written by a user, ``session`` is only
taken from ``CLUSTERSESSION_COOKIE_NAME`` or the keyword argument.

Like Flask's own sessions, changes are committed with error responses too. What a streamed response
changes is committed when it is closed.
"""

import logging
import threading
from dataclasses import replace
from typing import Any, cast

from flask import Flask, Request, Response, request
from flask.sessions import SessionInterface, SessionMixin

from clustersession.cluster.configuration import load_settings
from clustersession.cluster.places import derive_secret
from clustersession.cluster.readiness import readiness
from clustersession.cluster.runtime import Runtime
from clustersession.core.settings import Settings
from clustersession.session.cookie import cookie_values
from clustersession.session.manager import SessionManager
from clustersession.session.session import Session

_log = logging.getLogger("clustersession")

_PREFIX = "CLUSTERSESSION_"
_FLASK_COOKIE_NAME_DEFAULT = "session"

SessionMixin.register(Session)


class ClusterSession:
    """The extension: ``ClusterSession(app)``, or ``init_app(app)`` for application factories."""

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Replace the application's session interface; opens nothing.

        The extension is then found as ``app.extensions["clustersession"]``.
        """
        app.session_interface = ClusterSessionInterface(self._options)
        app.extensions["clustersession"] = self

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


class ClusterSessionInterface(SessionInterface):
    """Flask's session interface over a session manager."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._runtime: Runtime | None = None
        self._lock = threading.Lock()

    def runtime(self, app: Flask) -> Runtime:
        """The runtime with the application's settings. Raises ConfigurationError."""
        runtime = self._runtime
        if runtime is None:
            with self._lock:
                if self._runtime is None:
                    made = _make_runtime(app, self._options)
                    if made.settings.ready_path:
                        _answer_checks(app, made)
                    self._runtime = made
                runtime = self._runtime
        return runtime

    def get_cookie_name(self, app: Flask) -> str:
        """The name of the cookie, for extensions that ask."""
        return self.runtime(app).settings.cookie_name

    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        """The session of the request."""
        runtime = self.runtime(app)
        manager, settings = runtime.manager(), runtime.settings
        cookies = request.environ.get("HTTP_COOKIE", "")
        values = cookie_values(cookies, settings.cookie_name)
        name = manager.seen_cookie_name
        seen = cookie_values(cookies, name) if name else ()
        header_value = request.headers.get(settings.header_name) if settings.header_name else None
        session = manager.open(values, header_value, seen)
        if session.missing:
            manager.fetch(session)
        return cast(SessionMixin, session)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Commit, and set the cookie where it is needed."""
        if not isinstance(session, Session):
            return
        manager = self.runtime(app).manager()
        outcome = manager.commit(session)
        if outcome.set_cookie is not None:
            response.headers.add("Set-Cookie", outcome.set_cookie)
        if outcome.set_seen_cookie is not None:
            response.headers.add("Set-Cookie", outcome.set_seen_cookie)
        if outcome.vary:
            response.vary.add("Cookie")
        if response.is_streamed:
            response.call_on_close(lambda: _save_late(manager, session))


def _answer_checks(app: Flask, runtime: Runtime) -> None:
    """Answer the path of health checks before anything else of the application sees the request.

    The settings are known at the first request and not before, where ``app.before_request`` would
    be refused; the table that it fills is read after the session has been opened.
    """
    def answer() -> Response | None:
        if request.root_path + request.path != runtime.settings.ready_path:
            return None
        found = readiness(runtime)
        return Response(found.body, found.status, found.headers)

    app.before_request_funcs.setdefault(None, []).insert(0, answer)


def _save_late(manager: SessionManager, session: Session) -> None:
    # After a refused commit nothing more is stored, and looking would raise once more.
    if not session.discarded and session.unsaved:
        manager.save(session)


def _make_runtime(app: Flask, options: dict[str, Any]) -> Runtime:
    config = app.config
    given: dict[str, Any] = {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in config.items()
        if name.startswith(_PREFIX)
    }
    if "DISTRIBUTABLE" in config:
        given.setdefault("distributable", config["DISTRIBUTABLE"])
    settings = load_settings(_from_flask(app), **{**given, **options})
    if settings.cookie_name == _FLASK_COOKIE_NAME_DEFAULT:
        _log.warning(
            "the session cookie is named %r: Apache httpd prefers a query parameter of that name "
            "when it looks for the route", settings.cookie_name,
        )
    lifetime_s = app.permanent_session_lifetime.total_seconds()
    return Runtime(
        _allow_lifetime(settings, lifetime_s),
        permanent_lifetime_s=lifetime_s,
        sliding=bool(config["SESSION_REFRESH_EACH_REQUEST"]),
    )


def _from_flask(app: Flask) -> dict[str, object]:
    """What Flask's own configuration says, by our names."""
    config = app.config
    found: dict[str, object] = {
        "cookie_path": config["SESSION_COOKIE_PATH"] or config["APPLICATION_ROOT"] or "/",
        "cookie_domain": config["SESSION_COOKIE_DOMAIN"] or "",
        "cookie_secure": bool(config["SESSION_COOKIE_SECURE"]),
        "cookie_httponly": bool(config["SESSION_COOKIE_HTTPONLY"]),
        "cookie_partitioned": bool(config.get("SESSION_COOKIE_PARTITIONED")),
    }
    if config["SESSION_COOKIE_SAMESITE"]:
        found["cookie_samesite"] = config["SESSION_COOKIE_SAMESITE"]
    if config["SESSION_COOKIE_NAME"] != _FLASK_COOKIE_NAME_DEFAULT:
        found["cookie_name"] = config["SESSION_COOKIE_NAME"]
    keys = [config["SECRET_KEY"], *(config.get("SECRET_KEY_FALLBACKS") or ())]
    if secrets := [derive_secret(key) for key in keys if key]:
        found["secret"] = secrets
    return found


def _allow_lifetime(settings: Settings, lifetime_s: float) -> Settings:
    """By default no session may end before its permanent lifetime could."""
    if settings.absolute_timeout_s:
        return settings
    absolute_s = max(settings.effective_absolute_timeout_s, 4 * lifetime_s)
    return replace(settings, absolute_timeout_s=absolute_s)
