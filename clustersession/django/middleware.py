"""A SessionMiddleware that knows what the engine is: in place of Django's own, if one likes.

    MIDDLEWARE = [..., "clustersession.django.ClusterSessionMiddleware", ...]

Django's own reads one cookie and, whenever a request changed the session, writes it. This one

* sends the cookie only when it is new, has to name another node, or has a lifetime to renew;
* sends none with the answer of a request whose session was ended meanwhile, whenever that was;
* keeps ``session_key`` the same, and 39 characters long, when a session moves to another node;
* reads the id from the header ``header_name`` and answers there, keeps sessions away from paths
  that match ``exclude``, and does what ``consistency="causal"`` needs;
* commits under ASGI without a thread, and refuses wrong settings when the server starts.

It is a subclass of Django's: checks and packages that look for that one find it.
"""

import time
from typing import Any, cast

from django.conf import settings as django_settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import http_date

from clustersession.django.configuration import manager, runtime
from clustersession.django.store import SessionStore
from clustersession.requests.readiness import Readiness, readiness, readiness_async
from clustersession.session.cookie import cookie_values
from clustersession.session.paths import path_excluder


class ClusterSessionMiddleware(SessionMiddleware):
    """Gives each request its session. Raises ConfigurationError, ImproperlyConfigured."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if not issubclass(self.SessionStore, SessionStore):
            raise ImproperlyConfigured(
                "ClusterSessionMiddleware needs SESSION_ENGINE = 'clustersession.django', "
                f"and not {django_settings.SESSION_ENGINE!r}"
            )
        self._is_excluded = path_excluder(runtime().settings.exclude)

    async def __acall__(self, request: HttpRequest) -> HttpResponse:
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
        return _finish(request, response, store, saving)

    def process_request(  # type: ignore[override]
        self, request: HttpRequest
    ) -> HttpResponse | None:
        """Open the session, or answer a health check."""
        if self._is_check(request):
            return _response(readiness(runtime()))
        settings, seen_name = runtime().settings, manager().seen_cookie_name
        header, name = request.META.get("HTTP_COOKIE", ""), settings.cookie_name
        values = cookie_values(header, name)
        if not values and name in request.COOKIES:
            values = [request.COOKIES[name]]
        seen = cookie_values(header, seen_name) if seen_name else ()
        header_value = request.headers.get(settings.header_name) if settings.header_name else None
        # Browsers name the origin of each request; see session.answer.
        cookieless = bool(settings.header_name) and not header and (
            "HTTP_SEC_FETCH_SITE" not in request.META
        )
        store = cast(type[SessionStore], self.SessionStore)(request.COOKIES.get(name))
        request.session = store
        if self._is_excluded is not None and self._is_excluded(request.path):
            store.open_excluded()
        else:
            store.open_request(values, header_value, seen, cookieless=cookieless)
        if (legacy := manager().legacy) is not None:
            legacy.adopt(store.opened(), header)
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
        return _finish(request, response, store, saving)


    @staticmethod
    def _is_check(request: HttpRequest) -> bool:
        path = runtime().settings.ready_path
        return bool(path) and request.path == path


def _response(found: Readiness) -> HttpResponse:
    response = HttpResponse(found.body, status=found.status, headers=dict(found.headers))
    # Django would log an error for each 503, several times a second while a node joins or drains.
    cast(Any, response)._has_been_logged = True
    return response


def _is_to_be_saved(store: SessionStore, response: HttpResponse) -> bool:
    if response.status_code >= 500 or store.is_empty():
        return False
    if store.modified:
        return True
    every = bool(django_settings.SESSION_SAVE_EVERY_REQUEST)
    return every and store.opened().identifier is not None


def _finish(
    request: HttpRequest, response: HttpResponse, store: SessionStore, saved: bool
) -> HttpResponse:
    """Write the headers. What an error changed is not stored, and its client learns of no id."""
    vary = store.accessed
    name, seen_name = django_settings.SESSION_COOKIE_NAME, manager().seen_cookie_name
    if store.is_empty():
        if store.by_header and any(store.sent):
            vary = True
            _answer_in_header(response, "")
        if name in request.COOKIES:
            vary = True
            for doomed in filter(None, (name, seen_name)):
                response.delete_cookie(
                    doomed,
                    path=django_settings.SESSION_COOKIE_PATH,
                    domain=django_settings.SESSION_COOKIE_DOMAIN,
                    samesite=django_settings.SESSION_COOKIE_SAMESITE,
                )
    elif response.status_code < 500:
        outcome = manager().answer(store.opened())
        if outcome.set_seen_cookie is not None:
            response.cookies.load(outcome.set_seen_cookie)
        if outcome.delete_legacy_cookie is not None:
            response.cookies.load(outcome.delete_legacy_cookie)
        value = store.cookie_value()
        if value is not None and (value not in store.sent or (saved and _has_lifetime(store))):
            vary = True
            if store.by_header:
                _answer_in_header(response, value)
            if not store.by_cookie:
                return _with_vary(response)
            age_s = store.get_expiry_age() if _has_lifetime(store) else None
            response.set_cookie(
                name,
                value,
                max_age=age_s,
                expires=None if age_s is None else http_date(time.time() + age_s),
                domain=django_settings.SESSION_COOKIE_DOMAIN,
                path=django_settings.SESSION_COOKIE_PATH,
                secure=django_settings.SESSION_COOKIE_SECURE or False,
                httponly=django_settings.SESSION_COOKIE_HTTPONLY or False,
                samesite=django_settings.SESSION_COOKIE_SAMESITE,
            )
    return _with_vary(response) if vary else response


def _answer_in_header(response: HttpResponse, value: str) -> None:
    response.headers[runtime().settings.header_name] = value
    patch_cache_control(response, no_store=True)


def _with_vary(response: HttpResponse) -> HttpResponse:
    header_name = runtime().settings.header_name
    patch_vary_headers(response, ("Cookie", header_name) if header_name else ("Cookie",))
    return response


def _has_lifetime(store: SessionStore) -> bool:
    return not store.get_expire_at_browser_close()
