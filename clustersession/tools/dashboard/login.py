"""Lets people in, and answers everybody else."""

import logging
import time

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from clustersession.tools.dashboard import pages
from clustersession.tools.dashboard.guard import COOKIE, LOGIN_LIFE_S, Guard, is_same_origin
from clustersession.tools.dashboard.http import (
    base_of,
    client_of,
    cookie_of,
    host_of,
    html_response,
    path_of,
    read_form,
)

WARN_INTERVAL_S = 60.0

_log = logging.getLogger("clustersession.dashboard")


class Login:
    """Lets requests in, by a guard's judgement. ``open_paths`` are served to everybody.

    State: ``_warned_s``, when a wrong token was last logged: guessing must not fill the log.
    """

    def __init__(self, guard: Guard, open_paths: frozenset[str]) -> None:
        self._guard = guard
        self._open_paths = open_paths
        self._warned_s = float("-inf")

    def context(self, request: Request, cookie: str = "") -> pages.PageContext:
        """Tell what a page needs to know of a request. ``cookie``: the one that its answer sets."""
        form_token = self._guard.form_token(cookie or cookie_of(request))
        return pages.PageContext(base_of(request), request.state.nonce, form_token)

    async def refusal(self, request: Request) -> Response | None:
        """Answer a request that is not to be served; None for one that is."""
        if not self._guard.accepts_host(host_of(request)):
            return PlainTextResponse(
                "The dashboard is not served under this host name. Add it to dashboard_hosts.\n",
                400,
            )
        path = path_of(request)
        if path not in self._open_paths and not self._guard.is_in(cookie_of(request)):
            if request.method != "GET" or path == "events":
                return PlainTextResponse("Sign in first.\n", 401)
            return self._page(request, 401)
        if request.method == "POST":
            return await self._form_refusal(request)
        return None

    async def _form_refusal(self, request: Request) -> Response | None:
        sent = request.headers
        if not is_same_origin(host_of(request), sent.get("origin"), sent.get("sec-fetch-site")):
            return PlainTextResponse("The form came from another site.\n", 403)
        form = await read_form(request)
        if form is None:
            return PlainTextResponse("That is no form of the dashboard.\n", 413)
        request.scope["state"]["form"] = form
        if not self._guard.accepts_form(cookie_of(request), form.get("form_token", "")):
            return PlainTextResponse("The form is too old or not of this page. Reload it.\n", 403)
        return None

    async def enter(self, request: Request) -> Response:
        """Let in who follows the link that the command printed."""
        ticket = request.query_params.get("token", "")
        # A HEAD, as of a preview, must not use it up.
        if request.method == "GET" and self._guard.use_ticket(ticket):
            return self._signed_in(request)
        if self._guard.is_in(cookie_of(request)):
            return RedirectResponse(base_of(request), 303)
        return self._page(request, 403, wrong=True)

    async def login(self, request: Request) -> Response:
        """Show the login form, or let in who typed the token into it."""
        if request.method == "GET":
            return self._page(request, 200)
        if self._guard.is_token(request.state.form.get("token", "")):
            return self._signed_in(request)
        now_s = time.monotonic()
        if now_s - self._warned_s >= WARN_INTERVAL_S:
            self._warned_s = now_s
            _log.warning("dashboard: wrong token from %s", client_of(request))
        return self._page(request, 403, wrong=True)

    async def logout(self, request: Request) -> Response:
        """Take the cookie away."""
        answer = RedirectResponse(base_of(request), 303)
        self._set_cookie(request, answer, "", 0)
        return answer

    def _signed_in(self, request: Request) -> Response:
        _log.info("dashboard: signed in from %s", client_of(request))
        answer = RedirectResponse(base_of(request), 303)
        self._set_cookie(request, answer, self._guard.login_cookie(), LOGIN_LIFE_S)
        return answer

    def _page(self, request: Request, status: int, wrong: bool = False) -> Response:
        cookie = self._guard.form_cookie()
        context = self.context(request, cookie)
        page = pages.login(context, takes_token=self._guard.takes_token, wrong=wrong)
        answer = html_response(page, status)
        self._set_cookie(request, answer, cookie, None)
        return answer

    def _set_cookie(
        self, request: Request, answer: Response, value: str, life_s: int | None
    ) -> None:
        answer.set_cookie(
            COOKIE, value, max_age=life_s, path=base_of(request), httponly=True, samesite="strict",
            secure=request.scope.get("scheme") == "https",
        )
