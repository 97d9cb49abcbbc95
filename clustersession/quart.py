"""Keeps ``quart.session`` in the cluster.

    app.config["DISTRIBUTABLE"] = True
    ClusterSession(app)

Settings, and what ``session.clear()`` means, are those of ``clustersession.flask``. The node joins
when the server starts, before the first request. No request waits for its peers in a way that keeps
the event loop from others.

Like Quart's own sessions, changes are committed with error responses too. What a streamed response
changes is committed at its end, if it keeps its context (``stream_with_context``). A websocket has
the session of its handshake: what was changed before it was accepted is committed then, and the
acceptance carries the cookie where one is needed; later changes are committed when the handler ends
or the client goes away, or at once by ``await session.asave()``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from flask.sessions import SessionMixin
from quart import Quart, Response, request, websocket
from quart import session as _quart_session
from quart.sessions import SessionInterface
from quart.wrappers import Websocket
from quart.wrappers.base import BaseRequestWebsocket
from quart.wrappers.response import DataBody, ResponseBody
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response as WerkzeugResponse

from clustersession.flask.config import check_so_far
from clustersession.flask.interface import ClusterInterface
from clustersession.requests.late_changes import save_late_async
from clustersession.requests.readiness import readiness_async
from clustersession.session.events import Callback, Events
from clustersession.session.manager import SessionManager
from clustersession.session.session import Session
from clustersession.session.visit import Visit, visit_of
from clustersession.worker.runtime import Runtime

SessionMixin.register(Session)

session = cast(Session, _quart_session)
"""``quart.session``, typed as what it is: for calls of ``rotate``, ``asave`` and the like."""


class ClusterSession:
    """Is the extension: ``ClusterSession(app)``, or ``init_app(app)`` for factories.

    ``listeners``, an ``Events``, has the callbacks of ``on`` from elsewhere.
    """

    def __init__(
        self, app: Quart | None = None, *, listeners: Events | None = None, **options: Any
    ) -> None:
        self._options = options
        self.events = Events() if listeners is None else listeners
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Quart) -> None:
        """Replace the application's session interface; opens nothing.

        When the server starts the node joins; a node that cannot work keeps it from starting. The
        extension is then found as ``app.extensions["clustersession"]``. Raises ConfigurationError
        for what is wrong with the settings so far.
        """
        check_so_far(app, self._options)
        interface = ClusterSessionInterface(self._options, self.events)
        # Quart declares the type of its default, not of the interface.
        app.session_interface = cast(Any, interface)
        app.extensions["clustersession"] = self
        app.before_serving(partial(_start, app, interface))
        app.after_serving(partial(_close, app, interface))
        app.teardown_request(partial(_save_late, app, interface))
        app.teardown_websocket(partial(_end_websocket, app, interface))

    def start(self, app: Quart) -> None:
        """Join the cluster now: in an application that is mounted, which gets no lifespan.

        Call it when the application's configuration is complete. Further calls do nothing. Raises
        ReplicaUnusable or ConfigurationError when the node cannot work here at all, and
        RuntimeError for an application that this extension does not serve.
        """
        interface: object = app.session_interface
        if not isinstance(interface, ClusterSessionInterface):
            raise RuntimeError("call init_app of ClusterSession on this application first")
        interface.runtime(app).start()

    def on(self, kind: str, callback: Callback | None = None) -> Any:
        """Have a callback called for events of a kind; also a decorator. See ``session.events``.

        Raises ValueError for a kind that does not exist.
        """
        return self.events.on(kind, callback)


class ClusterSessionInterface(ClusterInterface, SessionInterface):
    """Implements Quart's session interface over a session manager."""

    def health_checks(self, runtime: Runtime) -> Callable[[], object]:
        """Return what answers a request for ``ready_path``, and any other with None."""
        async def answer_checks() -> Response | None:
            if request.root_path + request.path != runtime.settings.ready_path:
                return None
            found = await readiness_async(runtime)
            # Quart leaves it to the server to send no body to HEAD.
            body = found.body if request.method != "HEAD" else b""
            return Response(body, found.status, Headers(found.headers))

        return answer_checks

    def cookies_of(self, request: BaseRequestWebsocket) -> str:
        """Return the Cookie headers of a request in one: HTTP/2 allows several."""
        return "; ".join(request.headers.getlist("Cookie"))

    def get_cookie_name(self, app: Quart) -> str:
        """Return the name of the cookie, for extensions that ask."""
        return self.runtime(app).settings.cookie_name

    async def open_session(
        self, app: Quart, request: BaseRequestWebsocket
    ) -> SessionMixin | None:
        """Open the session of a request or of a websocket's handshake; None on an excluded path."""
        runtime = self.runtime(app)
        visit = self.begin(runtime, request, cast(Any, request.scope))
        if visit is None:
            return None
        if not self.is_ours(visit):
            return cast(SessionMixin, visit.session)
        if visit.missing:
            await runtime.manager().fetch_async(visit)
        if isinstance(request, Websocket):
            request._accept = partial(
                self._accept, runtime.manager(), visit, request._accept
            )
        return cast(SessionMixin, visit.session)

    async def save_session(
        self,
        app: Quart,
        session: SessionMixin,
        response: Response | WerkzeugResponse | None,
    ) -> None:
        """Commit, and set the cookie where it is needed and can be."""
        if not isinstance(session, Session):
            return
        visit = visit_of(session)
        if not self.is_ours(visit):
            self.before_commit(session)
            return
        manager = self.runtime(app).manager()
        if response is None or visit.answered:
            await _save_after_the_answer(manager, visit)
            return
        self.before_commit(session)
        self.answer(await manager.commit_async(visit), response.headers.add, response.vary)
        if isinstance(response, Response) and not isinstance(response.response, DataBody):
            visit.release()
            response.response = _OpenWhileSent(response.response, partial(manager.leave, visit))
        else:
            manager.close(visit)

    async def _accept(
        self, manager: SessionManager, visit: Visit, accept: Any, headers: Headers,
        subprotocol: str | None,
    ) -> None:
        if not visit.answered:
            self.before_commit(cast(Session, visit.session))
            outcome = await manager.commit_async(visit)
            self.answer(outcome, headers.add, set())
        await accept(headers, subprotocol)


async def _start(app: Quart, interface: ClusterSessionInterface) -> None:
    interface.runtime(app).start()


async def _close(app: Quart, interface: ClusterSessionInterface) -> None:
    interface.runtime(app).close()


async def _save_late(
    app: Quart, interface: ClusterSessionInterface, error: BaseException | None
) -> None:
    """Commit what nothing has committed: of a stream's end, or of a client that went away.

    A handler that fails is answered by an error page, and that has committed already.
    """
    visit = interface.opened_for(cast(Any, request.scope))
    if visit is not None:
        manager, answered = interface.runtime(app).manager(), visit.answered
        try:
            await save_late_async(manager, visit)
        finally:
            # The body of an answer may still be on its way.
            if not answered:
                manager.close(visit)


async def _end_websocket(
    app: Quart, interface: ClusterSessionInterface, error: BaseException | None
) -> None:
    """Do what ``_save_late`` does, when the handler of a websocket has ended."""
    visit = interface.opened_for(cast(Any, websocket.scope))
    if visit is not None:
        manager = interface.runtime(app).manager()
        try:
            await _save_after_the_answer(manager, visit)
        finally:
            manager.close(visit)


async def _save_after_the_answer(manager: SessionManager, visit: Visit) -> None:
    # Whether or not anything is to be saved: no header can follow any more.
    visit.answered = True
    await save_late_async(manager, visit)


class _OpenWhileSent(ResponseBody):
    """Is the body of a response, and says when it is sent: the request is open until then."""

    def __init__(self, body: Any, sent: Callable[[], None]) -> None:
        self._body = body
        self._sent = sent

    async def __aenter__(self) -> Any:
        return await self._body.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        try:
            await self._body.__aexit__(*error)
        finally:
            self._sent()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)
