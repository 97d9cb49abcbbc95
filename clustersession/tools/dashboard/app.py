"""Is the dashboard as an ASGI application, to be mounted or served by itself.

    app.mount("/cluster", Dashboard())

It takes the settings of the application, from the same places, and needs ``dashboard_token``; the
host names under which it may be reached stand in ``dashboard_hosts``.
"""

import logging
import secrets
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from clustersession.core.errors import ClusterSessionError, ConfigurationError
from clustersession.core.state import principal_of
from clustersession.net.agent_link import AgentGone
from clustersession.operations.ending import end_principal, end_session, end_text
from clustersession.operations.explaining import UNKNOWN, Explanation, explain
from clustersession.operations.nodes import ask_agent
from clustersession.operations.observing import Access, SharedAccess
from clustersession.settings.guessable import why_guessable
from clustersession.settings.rules import SECRET_COMMAND
from clustersession.tools.dashboard import pages
from clustersession.tools.dashboard.guard import Guard, headers
from clustersession.tools.dashboard.http import base_of, client_of, html_response, path_of
from clustersession.tools.dashboard.live import Live
from clustersession.tools.dashboard.login import Login
from clustersession.wire.local import Operation
from clustersession.worker.runtime import Runtime

_FILES = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
_OPEN_PATHS = frozenset({"login", "enter", *_FILES})

_log = logging.getLogger("clustersession.dashboard")


class Dashboard:
    """Is the status page of one node.

    Options are the settings by name, as for the middleware; or ``runtime`` shares what a middleware
    has. ``access`` and ``guard``: for a process that is no part of the node. Opens nothing. Raises
    ConfigurationError. It has no state of its own: ``Live`` has the newest look, ``Login`` and its
    ``Guard`` have who may come in.
    """

    def __init__(
        self,
        *,
        runtime: Runtime | None = None,
        access: Access | None = None,
        guard: Guard | None = None,
        **options: Any,
    ) -> None:
        if access is None:
            runtime = Runtime.from_options(options) if runtime is None else runtime
            settings = runtime.settings
            if not settings.dashboard_token:
                raise ConfigurationError(
                    "the dashboard shows and ends sessions: set dashboard_token, 16 characters or "
                    "more, for those who may use it"
                )
            # Where the application can be reached from, nobody here knows.
            if why := why_guessable(settings.dashboard_token):
                raise ConfigurationError(
                    f"the dashboard shows and ends sessions, and dashboard_token can be guessed: "
                    f"{why}; make one with {SECRET_COMMAND}"
                )
            access = SharedAccess(runtime)
            guard = Guard(settings.dashboard_token, settings.dashboard_hosts)
        self._access = access
        self._live = Live(access)
        self._login = Login(guard or Guard(), _OPEN_PATHS)
        self._app = Starlette(routes=self._routes())

    def _routes(self) -> list[Route]:
        login = self._login
        return [
            Route("/", self._overview), Route("/events", self._events),
            Route("/enter", login.enter, methods=["GET"]),
            Route("/login", login.login, methods=["GET", "POST"]),
            Route("/logout", login.logout, methods=["POST"]),
            Route("/find", self._find, methods=["POST"]),
            Route("/session/{handle}", self._session),
            Route("/session/{handle}/values", self._values, methods=["POST"]),
            Route("/session/{handle}/end", self._end, methods=["POST"]),
            Route("/session/{handle}/end-principal", self._end_users, methods=["POST"]),
            Route("/end-principal", self._end_principal, methods=["POST"]),
            Route("/drain", self._drain, methods=["POST"]),
            *(Route(f"/{name}", self._file) for name in _FILES),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request: judge it first, and put the policy's headers on whatever is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, nonce = Request(scope, receive), secrets.token_urlsafe(16)
        scope["state"] = {**scope.get("state", {}), "nonce": nonce}

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers(nonce))
            await send(message)

        refusal = await self._login.refusal(request)
        await (refusal or self._app)(scope, receive, send_guarded)

    # ---- looking ---------------------------------------------------------------------------------

    async def _overview(self, request: Request) -> Response:
        context = self._login.context(request)
        return html_response(pages.overview(context, await self._live.newest()))

    async def _events(self, request: Request) -> Response:
        return self._live.stream()

    async def _find(self, request: Request) -> Response:
        found = await run_in_threadpool(explain, self._access, request.state.form.get("id", ""))
        if found.state is not None and not found.refused:
            return RedirectResponse(f"{base_of(request)}session/{found.handle}", 303)
        return self._explained(request, found, 200 if found.handle else 404)

    async def _session(self, request: Request) -> Response:
        found = await self._named(request)
        return self._explained(request, found, 404 if found.verdict == UNKNOWN else 200)

    async def _values(self, request: Request) -> Response:
        found = await self._named(request)
        if not self._access.settings.dashboard_values:
            return self._said(
                request, "Values stay hidden", "The setting dashboard_values is off.", 403
            )
        _log.warning("dashboard: values of session %s shown to %s", found.name, client_of(request))
        return self._explained(request, found, 200, values=True)

    async def _named(self, request: Request) -> Explanation:
        handle = request.path_params["handle"]
        return await run_in_threadpool(explain, self._access, handle)

    def _explained(
        self, request: Request, found: Explanation, status: int, *, values: bool = False
    ) -> Response:
        context, reveals = self._login.context(request), self._access.settings.dashboard_values
        page = pages.explanation(context, found, reveals=reveals, values=values)
        return html_response(page, status)

    async def _file(self, request: Request) -> Response:
        name = path_of(request)
        return Response((files(__package__) / name).read_bytes(), media_type=_FILES[name])

    # ---- acting ----------------------------------------------------------------------------------

    async def _end(self, request: Request) -> Response:
        found = await self._named(request)
        if found.state is None:
            return self._explained(request, found, 404)

        def end() -> str:
            with self._access.replica() as replica:
                return f"{end_text(end_session(replica, self._access.home, found.key))}."

        return await self._act(request, f"end session {found.name}", end)

    async def _end_users(self, request: Request) -> Response:
        found = await self._named(request)
        user = None if found.state is None else principal_of(found.state)
        if user is None:
            return self._explained(request, found, 404)
        what = f"end all sessions of the user of session {found.name}"
        return await self._act(request, what, lambda: self._end_all(user))

    async def _end_principal(self, request: Request) -> Response:
        user = request.state.form.get("principal", "")
        if not user:
            return self._said(request, "No user given", "Nothing was ended.", 400)
        return await self._act(request, "end all sessions of a user", lambda: self._end_all(user))

    def _end_all(self, user: str) -> str:
        access = self._access
        with access.replica() as replica:
            return f"{end_text(end_principal(replica, access.home, access.settings, user))}."

    async def _drain(self, request: Request) -> Response:
        def drain() -> str:
            ask_agent(self._access.home, Operation.DRAIN)
            return "Its users move away now."

        return await self._act(request, "drain this node", drain)

    async def _act(self, request: Request, what: str, act: Callable[[], str]) -> Response:
        """Do what was confirmed, and show the text that ``act`` returns."""
        if request.state.form.get("sure") != "yes":
            return self._said(request, "Not confirmed", "Tick the box; nothing was done.", 400)
        try:
            done = await run_in_threadpool(act)
        except AgentGone:
            return self._said(request, "Not done", "This node has no agent.", 503)
        except (ClusterSessionError, TimeoutError) as error:
            return self._said(request, "Not done", str(error), 503)
        _log.warning("dashboard: told to %s by %s", what, client_of(request))
        return self._said(request, "Done", done, 200)

    def _said(self, request: Request, headline: str, text: str, status: int) -> Response:
        context = self._login.context(request)
        return html_response(pages.message(context, headline, text, good=status == 200), status)
