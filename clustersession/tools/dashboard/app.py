"""The dashboard as an ASGI application, to be mounted or served by itself.

    app.mount("/cluster", Dashboard())

It takes the settings of the application, from the same places, and needs ``dashboard_token``; the
host names under which it may be reached stand in ``dashboard_hosts``.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from clustersession.core.errors import ClusterSessionError, ConfigurationError
from clustersession.core.state import principal_of
from clustersession.net.agent_link import AgentGone
from clustersession.operations.ending import EndResult, end_principal, end_session, end_text
from clustersession.operations.explaining import UNKNOWN, Explanation, explain
from clustersession.operations.nodes import ask_agent
from clustersession.operations.observing import Access, SharedAccess, Snapshot, look
from clustersession.tools.dashboard import pages
from clustersession.tools.dashboard.guard import (
    COOKIE,
    LOGIN_LIFE_S,
    Guard,
    headers,
    is_same_origin,
)
from clustersession.tools.dashboard.html import Html
from clustersession.tools.dashboard.sections import sections
from clustersession.wire.local import Operation
from clustersession.worker.runtime import Runtime

STREAMS_MAX = 16
STREAM_LIFE_S = 10.0
LOOK_INTERVAL_S = 1.0
LOOK_INTERVAL_IN_TROUBLE_S = 5.0
WARN_INTERVAL_S = 60.0
BODY_BYTES_MAX = 8192
_FILES = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
_OPEN_PATHS = frozenset({"login", "enter", *_FILES})

_log = logging.getLogger("clustersession.dashboard")


class Dashboard:
    """The status page of one node.

    Options are the settings by name, as for the middleware; or ``runtime`` shares what a middleware
    has. ``access`` and ``guard``: for a process that is no part of the node. Opens nothing. Raises
    ConfigurationError.
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
            access = SharedAccess(runtime)
            guard = Guard(settings.dashboard_token, settings.dashboard_hosts)
        self._access = access
        self._guard = guard or Guard()
        self._looks = _Looks(access)
        self._streams = 0
        self._warned_s = float("-inf")
        self._app = Starlette(routes=[
            Route("/", self._overview), Route("/events", self._events),
            Route("/enter", self._enter, methods=["GET"]),
            Route("/login", self._login, methods=["GET", "POST"]),
            Route("/find", self._find, methods=["POST"]),
            Route("/session/{handle}", self._session),
            Route("/session/{handle}/values", self._values, methods=["POST"]),
            Route("/session/{handle}/end", self._end, methods=["POST"]),
            Route("/session/{handle}/end-principal", self._end_users, methods=["POST"]),
            Route("/end-principal", self._end_principal, methods=["POST"]),
            Route("/drain", self._drain, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            *(Route(f"/{name}", self._file) for name in _FILES),
        ])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, nonce = Request(scope, receive), secrets.token_urlsafe(16)
        scope["state"] = {**scope.get("state", {}), "nonce": nonce}

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers(nonce))
            await send(message)

        refusal = await self._refusal(request)
        await (refusal or self._app)(scope, receive, send_guarded)

    # ---- who may ---------------------------------------------------------------------------------

    async def _refusal(self, request: Request) -> Response | None:
        """Why the request is not served; None when it is."""
        hosts = request.headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""
        if not self._guard.accepts_host(host):
            return PlainTextResponse(
                "The dashboard is not served under this host name. Add it to dashboard_hosts.\n",
                400,
            )
        path = _path(request)
        if path not in _OPEN_PATHS and not self._guard.is_in(_cookie(request)):
            if request.method != "GET" or path == "events":
                return PlainTextResponse("Sign in first.\n", 401)
            return self._login_page(request, 401)
        if request.method == "POST":
            return await self._form_refusal(request, host)
        return None

    async def _form_refusal(self, request: Request, host: str) -> Response | None:
        sent = request.headers
        if not is_same_origin(host, sent.get("origin"), sent.get("sec-fetch-site")):
            return PlainTextResponse("The form came from another site.\n", 403)
        form = await _form(request)
        if form is None:
            return PlainTextResponse("That is no form of the dashboard.\n", 413)
        request.scope["state"]["form"] = form
        if not self._guard.accepts_form(_cookie(request), form.get("form_token", "")):
            return PlainTextResponse("The form is too old or not of this page. Reload it.\n", 403)
        return None

    async def _enter(self, request: Request) -> Response:
        # A link that the command printed. A HEAD, as of a preview, must not use it up.
        ticket = request.query_params.get("token", "")
        if request.method == "GET" and self._guard.use_ticket(ticket):
            return self._signed_in(request)
        if self._guard.is_in(_cookie(request)):
            return RedirectResponse(_base(request), 303)
        return self._login_page(request, 403, wrong=True)

    async def _login(self, request: Request) -> Response:
        if request.method == "GET":
            return self._login_page(request, 200)
        if self._guard.is_token(request.state.form.get("token", "")):
            return self._signed_in(request)
        self._warn_of_wrong_token(request)
        return self._login_page(request, 403, wrong=True)

    def _warn_of_wrong_token(self, request: Request) -> None:
        now_s = time.monotonic()
        if now_s - self._warned_s >= WARN_INTERVAL_S:
            self._warned_s = now_s
            _log.warning("dashboard: wrong token from %s", _client(request))

    async def _logout(self, request: Request) -> Response:
        answer = RedirectResponse(_base(request), 303)
        self._set_cookie(request, answer, "", 0)
        return answer

    def _signed_in(self, request: Request) -> Response:
        _log.info("dashboard: signed in from %s", _client(request))
        answer = RedirectResponse(_base(request), 303)
        self._set_cookie(request, answer, self._guard.login_cookie(), LOGIN_LIFE_S)
        return answer

    def _login_page(self, request: Request, status: int, wrong: bool = False) -> Response:
        cookie = self._guard.form_cookie()
        answer = _html(
            pages.login(
                self._place(request, cookie), takes_token=self._guard.takes_token, wrong=wrong
            ), status,
        )
        self._set_cookie(request, answer, cookie, None)
        return answer

    def _set_cookie(
        self, request: Request, answer: Response, value: str, life_s: int | None
    ) -> None:
        answer.set_cookie(
            COOKIE, value, max_age=life_s, path=_base(request), httponly=True, samesite="strict",
            secure=request.scope.get("scheme") == "https",
        )

    def _place(self, request: Request, cookie: str = "") -> pages.Place:
        return pages.Place(
            _base(request), request.state.nonce,
            self._guard.form_token(cookie or _cookie(request)),
        )

    # ---- looking ---------------------------------------------------------------------------------

    async def _overview(self, request: Request) -> Response:
        return _html(pages.overview(self._place(request), await self._looks.newest()))

    async def _events(self, request: Request) -> Response:
        if self._streams >= STREAMS_MAX:
            return PlainTextResponse(
                "Too many pages are live already.\n", 503, {"retry-after": "30"}
            )
        self._streams += 1
        return _Stream(self._changes(), self._stream_ended)

    def _stream_ended(self) -> None:
        self._streams -= 1

    async def _changes(self) -> AsyncIterator[str]:
        sent: dict[str, Html] = {}
        # Ends by itself, and the browser comes again: a server that stops waits for its streams.
        ends_s = time.monotonic() + STREAM_LIFE_S
        yield "retry: 500\n\n"
        while time.monotonic() < ends_s:
            now = sections(await self._looks.newest())
            changed = {name: html for name, html in now.items() if sent.get(name) != html}
            sent = now
            yield f"data: {json.dumps(changed)}\n\n"
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def _find(self, request: Request) -> Response:
        found = await run_in_threadpool(explain, self._access, request.state.form.get("id", ""))
        if found.state is not None and not found.refused:
            return RedirectResponse(f"{_base(request)}session/{found.handle}", 303)
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
        _log.warning("dashboard: values of session %s shown to %s", found.name, _client(request))
        return self._explained(request, found, 200, values=True)

    async def _named(self, request: Request) -> Explanation:
        handle = request.path_params["handle"]
        return await run_in_threadpool(explain, self._access, handle)

    def _explained(
        self, request: Request, found: Explanation, status: int, *, values: bool = False
    ) -> Response:
        reveals = self._access.settings.dashboard_values
        return _html(
            pages.explanation(self._place(request), found, reveals=reveals, values=values), status
        )

    # ---- acting ----------------------------------------------------------------------------------

    async def _end(self, request: Request) -> Response:
        found = await self._named(request)
        if found.state is None:
            return self._explained(request, found, 404)

        def end() -> EndResult:
            with self._access.replica() as replica:
                return end_session(replica, self._access.home, found.key)

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

    def _end_all(self, user: str) -> EndResult:
        with self._access.replica() as replica:
            return end_principal(replica, self._access.home, self._access.settings, user)

    async def _drain(self, request: Request) -> Response:
        return await self._act(
            request, "drain this node", lambda: ask_agent(self._access.home, Operation.DRAIN)
        )

    async def _act(self, request: Request, what: str, act: Callable[[], Any]) -> Response:
        if request.state.form.get("sure") != "yes":
            return self._said(request, "Not confirmed", "Tick the box; nothing was done.", 400)
        try:
            result = await run_in_threadpool(act)
        except AgentGone:
            return self._said(request, "Not done", "This node has no agent.", 503)
        except (ClusterSessionError, TimeoutError) as error:
            return self._said(request, "Not done", str(error), 503)
        _log.warning("dashboard: told to %s by %s", what, _client(request))
        ended = isinstance(result, EndResult)
        done = f"{end_text(result)}." if ended else "Its users move away now."
        return self._said(request, "Done", done, 200)

    def _said(self, request: Request, title: str, text: str, status: int) -> Response:
        place = self._place(request)
        return _html(pages.message(place, title, text, good=status == 200), status)

    async def _file(self, request: Request) -> Response:
        name = _path(request)
        return Response((files(__package__) / name).read_bytes(), media_type=_FILES[name])


class _Looks:
    """The newest look at the node, shared by all pages that are open."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = asyncio.Lock()
        self._newest: Snapshot | None = None
        self._at_s = float("-inf")

    async def newest(self) -> Snapshot:
        """At most as old as the interval between looks."""
        async with self._lock:
            before = self._newest
            # A node without an agent has to be read from disk, and changes no more.
            slowly = before is not None and before.trouble
            interval_s = LOOK_INTERVAL_IN_TROUBLE_S if slowly else LOOK_INTERVAL_S * 0.8
            if before is None or time.monotonic() - self._at_s > interval_s:
                self._newest = await run_in_threadpool(look, self._access, before)
                self._at_s = time.monotonic()
            assert self._newest is not None
            return self._newest


class _Stream(StreamingResponse):
    """Server-sent events that are counted as long as they last."""

    def __init__(self, content: AsyncIterator[str], on_end: Callable[[], None]) -> None:
        super().__init__(content, media_type="text/event-stream", headers={
            "x-accel-buffering": "no",
        })
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


async def _form(request: Request) -> dict[str, str] | None:
    """The first value of each field; None for what is no form or too long."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return None
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return None
    try:
        fields = parse_qs(body.decode("ascii", "replace"), max_num_fields=20)
    except ValueError:
        return None
    return {name: values[0] for name, values in fields.items()}


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/") + "/"


def _path(request: Request) -> str:
    """The path below our own root, by which the router chooses too.

    Not that of ``request.url``: Starlette before 1.0.1 puts that together with the Host header, in
    which a stranger may write a path, and a question mark that hides the real one.
    """
    path, root = str(request.scope["path"]), _base(request).removesuffix("/")
    return path.removeprefix(root).removeprefix("/") if path.startswith(root + "/") else path


def _cookie(request: Request) -> str:
    return request.cookies.get(COOKIE, "")


def _client(request: Request) -> str:
    return request.client.host if request.client else "an unknown address"


def _html(html: Html, status: int = 200) -> Response:
    return Response(html, status, media_type="text/html")
