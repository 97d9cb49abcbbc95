"""Holds what Flask's and Quart's session interfaces share."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from clustersession.flask.config import ConfiguredApp, make_runtime
from clustersession.requests.answer import AnswerWriter
from clustersession.requests.opening import RequestOpener
from clustersession.session.events import Events
from clustersession.session.lifetimes import PERMANENT
from clustersession.session.outcome import Outcome
from clustersession.session.session import Session
from clustersession.session.visit import Visit, visit_of
from clustersession.worker.runtime import Runtime


class ClusterInterface(ABC):
    """Holds the runtime of one application, and has what Flask-Session's interface has."""

    def __init__(self, options: Mapping[str, Any], listeners: Events) -> None:
        self._options = options
        self._listeners = listeners
        self._runtime: Runtime | None = None
        self._permanent = False
        self._answers: AnswerWriter
        self._opener: RequestOpener[Any]
        self._lock = threading.Lock()

    def runtime(self, app: ConfiguredApp) -> Runtime:
        """Return the runtime with the application's settings. Raises ConfigurationError."""
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
                    self._opener = RequestOpener(
                        made, self.cookies_of, _header_of, clearing_ends=True
                    )
                    self._runtime = made
                runtime = self._runtime
        return runtime

    @abstractmethod
    def health_checks(self, runtime: Runtime) -> Callable[[], object]:
        """Return what answers a request for ``ready_path``, and any other with None."""

    @abstractmethod
    def cookies_of(self, request: Any) -> str:
        """Return the Cookie headers of a request in one, empty without any."""

    def regenerate(self, session: Any) -> None:
        """Give a session that holds something a new id: Flask-Session's name for ``rotate``.

        To a request with an outdated id it must seem empty, and its login counts all the same.
        """
        if session or (isinstance(session, Session) and visit_of(session).outdated):
            session.rotate()

    def begin(
        self, runtime: Runtime, request: Any, notes: MutableMapping[str, Any]
    ) -> Visit | None:
        """Open the session of a request; it may be ``missing``. None on an excluded path.

        ``notes`` is the request's environ or scope: a middleware around the application may have
        opened the session already. An application that calls itself with the same environ gets two
        answers, of which only one goes to the client: that is a request of its own.
        """
        opener, path = self._opener, request.path
        outer = None if self.opened_for(notes) else opener.join(request, notes)
        if outer is not None:
            return outer
        if opener.is_excluded is not None and opener.is_excluded(path):
            # Before the manager: such a path is served even where no node can be opened.
            return None
        return opener.open(runtime.manager(), request, path, notes=notes)

    def opened_for(self, notes: Mapping[str, Any]) -> Visit | None:
        """Return the visit that ``begin`` opened for a request, whatever became of that."""
        visit = notes.get(self._opener.place) if self._runtime is not None else None
        return visit if isinstance(visit, Visit) and self.is_ours(visit) else None

    def is_ours(self, visit: Visit) -> bool:
        """Tell whether ``begin`` opened it; else somebody around us commits it and answers."""
        return visit.opened_by is self._opener

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
        if not self._permanent or not session.modified or visit_of(session).identifier:
            return
        if session and PERMANENT not in session:
            session.permanent = True


def _header_of(request: Any, name: str) -> str | None:
    value: str | None = request.headers.get(name)
    return value
