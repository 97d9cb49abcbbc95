"""What the session interfaces of Flask and Quart have in common: everything but the waiting."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from clustersession.flask.config import ConfiguredApp, make_runtime
from clustersession.session.answer import AnswerWriter
from clustersession.session.cookie import CookieReader, cookie_values
from clustersession.session.events import Events
from clustersession.session.lifetimes import PERMANENT
from clustersession.session.outcome import Outcome
from clustersession.session.paths import path_excluder
from clustersession.session.session import Session
from clustersession.session.visit import Visit
from clustersession.worker.runtime import Runtime


class RequestHeaders(Protocol):
    """The headers of a request."""

    def get(self, key: str, /) -> str | None:
        """The value of a header."""
        ...


class ClusterInterface(ABC):
    """The runtime of one application, and its sessions by what Flask-Session calls them."""

    def __init__(self, options: Mapping[str, Any], listeners: Events) -> None:
        self._options = options
        self._listeners = listeners
        self._runtime: Runtime | None = None
        self._permanent = False
        self._answers: AnswerWriter
        self._cookies: CookieReader
        self._is_excluded: Callable[[str], bool] | None = None
        self._lock = threading.Lock()

    def runtime(self, app: ConfiguredApp) -> Runtime:
        """The runtime with the application's settings. Raises ConfigurationError."""
        runtime = self._runtime
        if runtime is None:
            with self._lock:
                if self._runtime is None:
                    self._permanent = bool(app.config.get("SESSION_PERMANENT"))
                    made = make_runtime(app, self._options, self._listeners)
                    if made.settings.ready_path:
                        # The settings are known at the first request and not before, where
                        # app.before_request would be refused; the table that it fills is read
                        # after the session has been opened.
                        first = app.before_request_funcs.setdefault(None, [])
                        first.insert(0, self.health_checks(made))
                    self._answers = AnswerWriter(made.settings)
                    self._cookies = CookieReader(made.settings.cookie_name)
                    self._is_excluded = path_excluder(made.settings.exclude)
                    self._runtime = made
                runtime = self._runtime
        return runtime

    @abstractmethod
    def health_checks(self, runtime: Runtime) -> Callable[[], object]:
        """What answers a request for ``ready_path``, and returns None to any other."""

    def regenerate(self, session: Any) -> None:
        """Give a session that holds something a new id: Flask-Session's name for ``rotate``."""
        if session:
            session.rotate()

    def begin(self, runtime: Runtime, cookies: str, headers: RequestHeaders) -> Visit:
        """The session of a request with these cookies; it may be ``missing``."""
        manager, settings = runtime.manager(), runtime.settings
        values = self._cookies.values(cookies)
        name = manager.seen_cookie_name
        seen = cookie_values(cookies, name) if name else ()
        header_value, cookieless = None, False
        if settings.header_name:
            header_value = headers.get(settings.header_name)
            cookieless = not cookies and headers.get("Sec-Fetch-Site") is None
        visit = manager.open(values, header_value, seen, cookieless=cookieless)
        visit.clearing_ends = True
        if manager.legacy is not None:
            manager.legacy.adopt(visit, cookies)
        return visit

    def excludes(self, path: str) -> bool:
        """Whether requests for a path have no session. The runtime has been made."""
        return self._is_excluded is not None and self._is_excluded(path)

    def answer(
        self, outcome: Outcome, add_header: Callable[[str, str], None], vary: Any
    ) -> None:
        """Put into a response what the commit asks for; ``vary`` is a set of its Vary fields."""
        if outcome.vary:
            for name, value in self._answers.lines(outcome, vary):
                if name == "Vary":
                    vary.update(value.split(", "))
                else:
                    add_header(name, value)

    def before_commit(self, session: Session) -> None:
        """Make a new session permanent, where SESSION_PERMANENT asks for that."""
        if not self._permanent or not session.modified or session.sid is not None:
            return
        if session and PERMANENT not in session:
            session.permanent = True


def has_late_changes(visit: Visit) -> bool:
    """Whether something was changed since the response went out.

    After a refused commit nothing more is stored, and looking would raise once more.
    """
    return not visit.discarded and visit.unsaved
