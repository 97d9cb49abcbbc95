"""Replaces Django's SessionMiddleware, and knows what this engine can do besides.

    MIDDLEWARE = [..., "clustersession.django.ClusterSessionMiddleware", ...]

Django's own reads one cookie and, whenever a request changed the session, writes it. This one

* sends the cookie only when it is new, has to name another node, or has a lifetime to renew;
* sends none with the answer of a request whose session was ended meanwhile, whenever that was;
* reads the id from the header ``header_name`` and answers there, keeps sessions away from paths
  that match ``exclude``, and does what ``consistency="causal"`` needs;
* commits under ASGI without a thread, and refuses wrong settings when the server starts.

It is a subclass of Django's: checks and packages that look for that one find it.
"""

import time
from functools import partial
from typing import Any, cast

from django.conf import settings as django_settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import http_date

from clustersession.django.configuration import manager, runtime
from clustersession.django.store import SessionStore
from clustersession.requests.answer import AnswerWriter
from clustersession.requests.cookie import cookie_values
from clustersession.requests.nesting import expect_bridges
from clustersession.requests.opening import RequestOpener
from clustersession.requests.readiness import Readiness, readiness, readiness_async
from clustersession.session.outcome import Outcome
from clustersession.session.visit import Visit


class ClusterSessionMiddleware(SessionMiddleware):
    """Gives each request its session. Raises ConfigurationError, ImproperlyConfigured."""

    opens_cluster_sessions = True
    """``django.configuration`` looks for this among the middleware; a subclass has it too."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if not issubclass(self.SessionStore, SessionStore):
            raise ImproperlyConfigured(
                "ClusterSessionMiddleware needs SESSION_ENGINE = 'clustersession.django', "
                f"and not {django_settings.SESSION_ENGINE!r}"
            )
        self._opener = RequestOpener(runtime(), _cookies_of, _header_of)
        self._answers = AnswerWriter(runtime().settings)
        expect_bridges()

    def __call__(self, request: HttpRequest) -> Any:
        """Serve a request; under ASGI this returns a coroutine."""
        try:
            response = super().__call__(request)
        except BaseException:
            self._leave(request)
            raise
        if isinstance(response, HttpResponseBase):
            self._leave(request, response)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponse:
        try:
            response = await self._serve(request)
        except BaseException:
            self._leave(request)
            raise
        self._leave(request, response)
        return response

    async def _serve(self, request: HttpRequest) -> HttpResponse:
        if self._is_check(request):
            return _response(await readiness_async(runtime()))
        self.process_request(request)
        opened = cast(SessionStore, request.session).opened()
        if opened.missing:
            # Now, because ``request.session["name"]`` in the view could only block the event loop.
            await manager().fetch_async(opened)
        response = cast(HttpResponse, await cast(Any, self.get_response(request)))
        store = getattr(request, "session", None)
        if not isinstance(store, SessionStore) or store.excluded:
            return response
        if saving := _is_to_be_saved(store, response):
            await store.asave()
        return self._finish(request, response, store, saving)

    def process_request(  # type: ignore[override]
        self, request: HttpRequest
    ) -> HttpResponse | None:
        """Open the session, or answer a health check."""
        if self._is_check(request):
            return _response(readiness(runtime()))
        opener = self._opener
        notes = _notes_of(request)
        visit = outer = opener.join(request, notes)
        if visit is None:
            visit = opener.open(manager(), request, request.path, notes=notes)
        given = request.COOKIES.get(django_settings.SESSION_COOKIE_NAME)
        request.session = store = cast(type[SessionStore], self.SessionStore)(given)
        if visit is None:
            store.open_excluded()
        else:
            store.open_request(
                visit, opener.ids_of(request), answered_outside=outer is not None
            )
        return None

    def process_response(
        self, request: HttpRequest, response: HttpResponse
    ) -> HttpResponse:
        """Commit, and set the cookie where it is needed."""
        store = getattr(request, "session", None)
        if not isinstance(store, SessionStore) or store.excluded:
            return response
        if saving := _is_to_be_saved(store, response):
            store.save()
        return self._finish(request, response, store, saving)

    def _is_check(self, request: HttpRequest) -> bool:
        path = self._opener.ready_path
        return bool(path) and request.path == path

    def _leave(self, request: HttpRequest, response: HttpResponseBase | None = None) -> None:
        """Close the visit when the response has gone, if it was opened here."""
        visit = _notes_of(request).get(self._opener.place)
        if not isinstance(visit, Visit) or visit.opened_by is not self._opener:
            return
        if response is not None and response.streaming:
            closers: list[Any] = cast(Any, response)._resource_closers
            closers.append(partial(_leave, visit))
        else:
            _leave(visit)

    def _finish(
        self, request: HttpRequest, response: HttpResponse, store: SessionStore, saved: bool
    ) -> HttpResponse:
        """Write the headers. The client of an error learns of no id: nothing was stored."""
        if store.answered_outside:
            if response.status_code >= 500:
                store.opened().discarded = True
            return response
        outcome = Outcome(vary=store.accessed)
        # Whatever it says: what begins while a body is streamed could not be told any more.
        store.opened().answered = True
        if store.leaves_nothing():
            outcome = _without_session(request, response, store)
        elif response.status_code < 500:
            outcome = _with_session(response, store, saved)
        if not outcome.vary:
            return response
        for name, value in self._answers.lines(outcome, (response.get("Vary", ""),)):
            if name == "Set-Cookie":
                response.cookies.load(value)
            elif name == "Vary":
                patch_vary_headers(response, value.split(", "))
            elif name == "Cache-Control":
                patch_cache_control(response, no_store=True)
            else:
                response.headers[name] = value
        return response


def _response(found: Readiness) -> HttpResponse:
    response = HttpResponse(found.body, status=found.status, headers=dict(found.headers))
    # Django would log an error for each 503, several times a second while a node joins or drains.
    cast(Any, response)._has_been_logged = True
    return response


def _is_to_be_saved(store: SessionStore, response: HttpResponse) -> bool:
    if response.status_code >= 500 or store.leaves_nothing():
        return False
    if store.modified:
        return True
    if not _saves_every_request():
        return False
    opened = store.opened()
    if opened.missing:
        # As Django asks its store, though the view asked nothing: nobody else may renew it.
        manager().fetch(opened)
    return opened.identifier is not None


def _without_session(
    request: HttpRequest, response: HttpResponse, store: SessionStore
) -> Outcome:
    """Take away what the client holds; there is nothing behind it any more."""
    tells = store.by_header and any(store.sent)
    name = django_settings.SESSION_COOKIE_NAME
    if name in request.COOKIES:
        for doomed in filter(None, (name, manager().seen_cookie_name)):
            response.delete_cookie(
                doomed,
                path=django_settings.SESSION_COOKIE_PATH,
                domain=django_settings.SESSION_COOKIE_DOMAIN,
                samesite=django_settings.SESSION_COOKIE_SAMESITE,
            )
    vary = store.accessed or tells or name in request.COOKIES
    return Outcome(vary=vary, set_header="" if tells else None)


def _with_session(response: HttpResponse, store: SessionStore, saved: bool) -> Outcome:
    """Set the cookie where it is due, as Django would, and return what else there is to say."""
    visit = store.opened()
    told = manager().answer(visit)
    value = store.cookie_value()
    due = value is not None and (value not in store.sent or (saved and _has_lifetime(store)))
    due = due and not manager().has_ended(visit)
    if value is not None and due and store.by_cookie:
        age_s = store.get_expiry_age() if _has_lifetime(store) else None
        response.set_cookie(
            django_settings.SESSION_COOKIE_NAME,
            value,
            max_age=age_s,
            expires=None if age_s is None else http_date(time.time() + age_s),
            domain=django_settings.SESSION_COOKIE_DOMAIN,
            path=django_settings.SESSION_COOKIE_PATH,
            secure=django_settings.SESSION_COOKIE_SECURE or False,
            httponly=django_settings.SESSION_COOKIE_HTTPONLY or False,
            samesite=django_settings.SESSION_COOKIE_SAMESITE,
        )
    seen, legacy = told.set_seen_cookie, told.delete_legacy_cookie
    return Outcome(
        vary=store.accessed or due or seen is not None or legacy is not None,
        set_seen_cookie=seen,
        set_header=value if due and store.by_header else None,
        delete_legacy_cookie=legacy,
    )


def _leave(visit: Visit) -> None:
    if _saves_every_request():
        manager().leave(visit)
    else:
        # As under Django's own sessions, one that only reads is no access, and is none at its end.
        visit.is_open = False


def _saves_every_request() -> bool:
    return bool(django_settings.SESSION_SAVE_EVERY_REQUEST)


def _notes_of(request: HttpRequest) -> dict[str, Any]:
    """Return the ASGI scope or the WSGI environ, which others around Django have as well."""
    notes: dict[str, Any] = getattr(request, "scope", request.META)
    return notes


def _cookies_of(request: HttpRequest) -> str:
    header: str = request.META.get("HTTP_COOKIE", "")
    name = django_settings.SESSION_COOKIE_NAME
    if name in request.COOKIES and not cookie_values(header, name):
        # Set by code that stands before this one, as tests do.
        return f"{header}; {name}={request.COOKIES[name]}"
    return header


def _header_of(request: HttpRequest, name: str) -> str | None:
    return request.headers.get(name)


def _has_lifetime(store: SessionStore) -> bool:
    return not store.get_expire_at_browser_close()
