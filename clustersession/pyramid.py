"""Keeps Pyramid's ``request.session`` in the cluster.

    config.include("clustersession.pyramid")

takes settings from the .ini file, ``clustersession.distributable = true`` and so on. Without the
.ini file::

    config.set_session_factory(ClusterSessionFactory(distributable=True))

The session is opened when an application first asks for ``request.session``, and committed when all
tweens are through and the response is there: an error page of an exception view keeps changes, an
exception that goes to the server does not. What a streamed body changes is committed when it is
closed.
"""

import secrets
import sys
from collections.abc import Callable
from typing import Any

from pyramid.interfaces import ISession
from pyramid.response import Response
from pyramid.tweens import INGRESS
from zope.interface import classImplements

from clustersession.core.errors import ConfigurationError
from clustersession.requests.answer import AnswerWriter
from clustersession.requests.attempts import AttemptStart
from clustersession.requests.late_changes import LateBody, save_late
from clustersession.requests.nesting import expect_bridges
from clustersession.requests.opening import RequestOpener, refuse_url_parameter
from clustersession.requests.paths import ExcludedSession
from clustersession.requests.readiness import readiness
from clustersession.session.events import Callback
from clustersession.session.session import Session
from clustersession.session.untouched import UntouchedSession
from clustersession.session.visit import Visit
from clustersession.worker.runtime import Runtime
from clustersession.wsgi import cookies_of, header_of, path_of

_PREFIX = "clustersession."
_REGISTERED = "clustersession"
_FLASH = "_f_"
_CSRF_TOKEN = "_csrft_"
_TOKEN_BYTES = 20


class PyramidSession(Session):
    """Is ``request.session``: a session with what Pyramid's ``ISession`` has besides.

    ``_userid_key`` is where Pyramid's session authentication keeps who is logged in; see
    ``ClusterSessionFactory``.
    """

    __slots__ = ()

    _userid_key = ""

    @property
    def created(self) -> int:
        """Return when the session was created, in whole seconds of Unix time."""
        return int(self.created_at.timestamp())

    def changed(self) -> None:
        """Note a change; not needed for changes to be found."""
        self.mark_modified()

    def flash(self, msg: Any, queue: str = "", allow_duplicate: bool = True) -> None:
        """Append a message to a queue."""
        messages = self.setdefault(_FLASH + queue, [])
        if allow_duplicate or msg not in messages:
            messages.append(msg)

    def pop_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of a queue, and empty it."""
        messages: list[Any] = self.pop(_FLASH + queue, [])
        return messages

    def peek_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of a queue, and leave them there."""
        messages: list[Any] = self.get(_FLASH + queue, [])
        return messages

    def new_csrf_token(self) -> str:
        """Make a new CSRF token, which takes the old one's place."""
        self[_CSRF_TOKEN] = token = secrets.token_hex(_TOKEN_BYTES)
        return token

    def get_csrf_token(self) -> str:
        """Return the CSRF token; the first call makes it."""
        token: str | None = self.get(_CSRF_TOKEN)
        return self.new_csrf_token() if token is None else token

    # Pyramid's ``remember`` and ``forget`` set and delete one attribute of the session, and tell
    # nobody. Whoever knows the id from before the login would share it, so these follow them.

    def __setitem__(self, key: str, value: Any) -> None:
        before = self.get(key) if key == self._userid_key else None
        super().__setitem__(key, value)
        if key == self._userid_key:
            self._follow(before if self.principal == str(value) else None)

    def __delitem__(self, key: str) -> None:
        before = self.get(self._userid_key)
        super().__delitem__(key)
        self._follow(before)

    def pop(self, key: str, *default: Any) -> Any:
        """Do what dict.pop does."""
        before = self.get(self._userid_key)
        value = super().pop(key, *default)
        self._follow(before)
        return value

    def popitem(self) -> tuple[str, Any]:
        """Do what dict.popitem does."""
        before = self.get(self._userid_key)
        item = super().popitem()
        self._follow(before)
        return item

    def update(self, *others: Any, **values: Any) -> None:
        """Do what dict.update does, all or nothing."""
        before = self.get(self._userid_key)
        super().update(*others, **values)
        self._follow(before)

    def clear(self) -> None:
        """Delete every attribute; who was logged in by one of them no longer is."""
        before = self.get(self._userid_key)
        super().clear()
        self._follow(before)

    def _follow(self, before: object) -> None:
        """Have a login or logout give the session its id and its user.

        The principal alone does not tell: an application may have set it already.
        """
        userid = self.get(self._userid_key)
        if userid == before:
            return
        self.rotate()
        self.principal = None if userid is None else str(userid)


class _Untouched(PyramidSession, UntouchedSession):
    __slots__ = ()


class _Excluded(PyramidSession, ExcludedSession):
    __slots__ = ()


classImplements(PyramidSession, ISession)


class ClusterSessionFactory:
    """Makes ``request.session``; for ``config.set_session_factory``.

    Options are the settings by name, as for ``clustersession.wsgi``, ``listeners`` included.
    ``userid_key`` names the attribute in which ``SessionAuthenticationHelper`` or ``...Policy``
    keeps who is logged in: a login gives the session a new id and its principal. Empty: the
    application does both itself. Raises ConfigurationError.
    """

    def __init__(self, *, userid_key: str = "auth.userid", **options: Any) -> None:
        self.runtime = Runtime.from_options(options)
        settings = self.runtime.settings
        refuse_url_parameter(
            settings,
            "Pyramid looks at the path before it opens the session. Put ClusterSessionMiddleware "
            "of clustersession.wsgi around the whole application, with this setting there",
        )
        self._opener = RequestOpener(self.runtime, cookies_of, header_of)
        self._answers = AnswerWriter(settings)
        of_app = {"__slots__": (), "_userid_key": userid_key}
        self._loaded: type[PyramidSession] = type("PyramidSession", (PyramidSession,), of_app)
        self._untouched: type[PyramidSession] = type(
            "UntouchedPyramidSession", (_Untouched,), {**of_app, "_loaded_class": self._loaded}
        )
        self._loaded._checking_class = self._untouched._checking_class = self._untouched
        self._is_added = False
        expect_bridges()

    def add_to(self, config: Any) -> None:
        """Make an application use it: ``config.include(factory.add_to)``.

        ``config.set_session_factory(factory)`` does the same, but answers no health checks.
        """
        self._is_added = True
        config.set_session_factory(self)
        config.registry[_REGISTERED] = self
        if self.runtime.settings.ready_path:
            config.add_tween("clustersession.pyramid.ready_tween_factory", under=INGRESS)

    def start(self) -> None:
        """Join the cluster now, instead of at the first request: for a server's hooks.

        Call it in the process that serves, after the server has forked. Further calls do nothing.
        Raises ReplicaUnusable or ConfigurationError when the node cannot work here at all.
        """
        self._check_added()
        self.runtime.start()

    def _check_added(self) -> None:
        if self._opener.ready_path and not self._is_added:
            raise ConfigurationError(
                f"ready_path is {self._opener.ready_path!r}, which config.set_session_factory "
                "cannot serve; write config.include(factory.add_to) instead"
            )

    def on(self, kind: str, callback: Callback | None = None) -> Any:
        """Have a callback called for events of a kind; also a decorator. See ``session.events``.

        Raises ValueError for a kind that does not exist.
        """
        return self.runtime.on(kind, callback)

    def __call__(self, request: Any) -> Session:
        """Open the session of a request, or join the one that is open for it; Pyramid calls it."""
        environ, opener = request.environ, self._opener
        self._check_added()
        # A subrequest or a second request object over the same environ: the first one answers.
        visit = opener.join(environ, environ)
        if visit is None:
            path = environ.get("PATH_INFO", "")
            if opener.is_excluded is not None and opener.is_excluded(path):
                return _Excluded(self.runtime.manager())
            manager = self.runtime.manager()
            visit = opener.open(manager, environ, path, notes=environ)
            assert visit is not None
            if visit.missing:
                manager.fetch(visit)
            _Answering(self, visit, request)
        elif environ.get("retry.attempts", 1) > 1:
            _forget_if_repeated(request, AttemptStart(visit))
        return self._ours(visit)

    def _ours(self, visit: Visit) -> Session:
        """Give a session the methods of Pyramid's; it stays the same object for whoever has it."""
        session: Any = visit.session
        untouched = isinstance(session, UntouchedSession)
        session.__class__ = self._untouched if untouched else self._loaded
        found: Session = session
        return found

    def add_headers(self, visit: Visit, response: Any) -> None:
        """Commit, and put into a response what the commit asks for."""
        outcome = self.runtime.manager().commit(visit)
        if outcome.vary:
            headers = response.headerlist
            vary = [value for name, value in headers if name.lower() == "vary"]
            headers.extend(self._answers.lines(outcome, vary))


class _Answering:
    """Commits and closes the visit of one request, by Pyramid's callbacks."""

    def __init__(self, factory: ClusterSessionFactory, visit: Visit, request: Any) -> None:
        self._factory = factory
        self._visit = visit
        self._answered = self._streams = False
        # Callbacks that are added later may change the session, so each of ours goes behind them.
        request.add_response_callback(
            lambda request, response: request.add_response_callback(self._respond)
        )
        request.add_finished_callback(lambda request: request.add_finished_callback(self._finish))

    def _respond(self, request: Any, response: Any) -> None:
        if _will_be_retried(request):
            return
        manager = self._factory.runtime.manager()
        self._factory.add_headers(self._visit, response)
        self._answered = True
        body = response.app_iter
        if not isinstance(body, (list, tuple)):
            self._streams = True
            length = response.content_length
            response.app_iter = LateBody(manager, self._visit, body)
            response.content_length = length  # which webob takes for that of the old body

    def _finish(self, request: Any) -> None:
        if self._streams:
            return
        manager = self._factory.runtime.manager()
        try:
            if self._answered:
                save_late(manager, self._visit)
        finally:
            manager.close(self._visit)


def _forget_if_repeated(request: Any, start: AttemptStart) -> None:
    """Have a session that is opened around Pyramid lose what an attempt did that is repeated."""
    def finish(request: Any) -> None:
        if _will_be_retried(request):
            start.go_back()

    request.add_finished_callback(lambda request: request.add_finished_callback(finish))


def _will_be_retried(request: Any) -> bool:
    """Tell whether pyramid_retry throws this away, maybe an error page, and asks once more."""
    retry = sys.modules.get("pyramid_retry")
    error = getattr(request, "exception", None) or sys.exc_info()[1]
    return retry is not None and error is not None and retry.is_error_retryable(request, error)


def includeme(config: Any) -> None:
    """Take the settings ``clustersession.*`` of the application; for ``config.include``.

    The factory is then ``config.registry["clustersession"]``. Raises ConfigurationError.
    """
    options = {
        name.removeprefix(_PREFIX): value
        for name, value in config.get_settings().items()
        if name.startswith(_PREFIX)
    }
    ClusterSessionFactory(**options).add_to(config)


def ready_tween_factory(handler: Callable[[Any], Any], registry: Any) -> Callable[[Any], Any]:
    """Answer requests for ``ready_path``, before any other tween."""
    runtime: Runtime = registry[_REGISTERED].runtime

    def answer_checks(request: Any) -> Any:
        if path_of(request.environ) != runtime.settings.ready_path:
            return handler(request)
        found = readiness(runtime)
        return Response(body=found.body, status=found.status_line, headerlist=found.headers)

    return answer_checks


__all__ = ["ClusterSessionFactory", "PyramidSession", "includeme"]
