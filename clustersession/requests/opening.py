"""Opens a request: finds which ids it brings, and how its client may be told one.

It is the same for every adapter. What an adapter adds is how the headers of its requests are read.
"""

import logging
from collections.abc import Callable, MutableMapping
from typing import Any, Generic, TypeVar

from clustersession.core.errors import ConfigurationError
from clustersession.requests.cookie import CookieReader, as_text, cookie_values
from clustersession.requests.nesting import agree, find_outer, place_of, same_cookies
from clustersession.requests.paths import PathParameter, path_excluder
from clustersession.session.manager import SessionManager
from clustersession.session.seen import seen_cookie_name
from clustersession.session.visit import Visit
from clustersession.settings.settings import Settings
from clustersession.worker.runtime import Runtime

_log = logging.getLogger("clustersession")

_Request = TypeVar("_Request")

_DEFAULTS = Settings()
_BROWSERS_ORIGIN = "Sec-Fetch-Site"
"""Browsers name the origin of each request in it, see ``requests.answer``."""

_BEYOND_THE_COOKIE = (
    "header_name", "ready_path", "exclude", "legacy_cookie_name", "consistency",
)
"""Settings for which more of a request is looked at than the session's cookie."""


def beyond_the_cookie(settings: Settings) -> list[str]:
    """Say which settings an adapter cannot serve that sees nothing but the session's cookie."""
    return [
        f"{name} is {getattr(settings, name)!r}"
        for name in _BEYOND_THE_COOKIE
        if getattr(settings, name) != getattr(_DEFAULTS, name)
    ]


def refuse_url_parameter(settings: Settings, why: str) -> None:
    """Raise ConfigurationError for an id in the path, in an adapter that sees the path too late.

    ``why`` says so of its framework, and what to do instead.
    """
    if settings.url_parameter:
        raise ConfigurationError(f"url_parameter is {settings.url_parameter!r}; {why}")


class RequestOpener(Generic[_Request]):
    """Opens the requests of one application, as the settings of its runtime say.

    cookies_of: a request's Cookie headers in one, empty without any; as text or as they came.
    header_of: the value of another header, None when the request has none.
    clearing_ends: whether ``session.clear()`` is the framework's logout.

    Attributes:
        ready_path: of health checks; empty: there are none.
        url_parameter: the id in the path. None: it is not looked for. Only those adapters can use
            it that see the path before the application is routed.
        is_excluded: tells whether a path has no session; None: each has one. ``open`` asks it; so
            do adapters that need no manager on such a path.
        place: where a request's own dict has its visit, see ``requests.nesting``.
        runtime: whose manager opens.
        _agreed: the runtime of the adapter around this one, once the settings were compared.
        _complained: the log says already that they differ.
    """

    def __init__(
        self,
        runtime: Runtime,
        cookies_of: Callable[[_Request], str | bytes],
        header_of: Callable[[_Request, str], str | None],
        *,
        clearing_ends: bool = False,
    ) -> None:
        settings = runtime.settings
        self.runtime = runtime
        self.place = place_of(settings)
        self._agreed: Runtime | None = None
        self._complained = False
        self.ready_path = settings.ready_path
        name = settings.url_parameter
        self.url_parameter = PathParameter(name) if name else None
        self._cookies_of = cookies_of
        self._header_of = header_of
        self._clearing_ends = clearing_ends
        self.is_excluded = path_excluder(settings.exclude)
        self._cookies = CookieReader(settings.cookie_name)
        self._header_name = settings.header_name
        self._seen_cookie = seen_cookie_name(settings)
        self._legacy_cookie = settings.legacy_cookie_name

    def open(
        self,
        manager: SessionManager,
        request: _Request,
        path: str,
        url_value: str | None = None,
        *,
        notes: MutableMapping[str, Any],
    ) -> Visit | None:
        """Open the session of a request; None on a path that is excluded.

        ``url_value`` is what ``url_parameter`` found. ``notes`` is the request's scope or environ:
        adapters inside this one find the visit there. The request is open until
        ``manager.close``. When the visit is ``missing`` its session,
        the adapter has it fetched before the application sees it.
        """
        if self.is_excluded is not None and self.is_excluded(path):
            return None
        cookies = self._cookies_of(request)
        values = self._cookies.values(cookies)
        seen_name, header_name = self._seen_cookie, self._header_name
        seen = cookie_values(as_text(cookies), seen_name) if seen_name else ()
        header_value, cookieless = None, False
        if header_name:
            header_value = self._header_of(request, header_name)
            cookieless = not cookies and self._header_of(request, _BROWSERS_ORIGIN) is None
        visit = manager.open(values, header_value, seen, url_value, cookieless=cookieless)
        visit.clearing_ends = self._clearing_ends
        visit.opened_by, visit.cookies = self, cookies
        notes[self.place] = visit
        manager.open_visits.add(visit)
        if self._legacy_cookie and manager.legacy is not None:
            old_values = cookie_values(as_text(cookies), self._legacy_cookie)
            manager.legacy.adopt(visit, old_values)
        return visit

    def join(self, request: _Request, notes: MutableMapping[str, Any]) -> Visit | None:
        """Return the visit that an adapter around this one has opened for the same request.

        None without one. Whoever opened it commits it, answers and closes it. ``notes`` is as for
        ``open``. Raises ConfigurationError when that adapter has other settings.
        """
        visit = find_outer(notes, self.place)
        if visit is None or not same_cookies(
            as_text(visit.cookies), as_text(self._cookies_of(request))
        ):
            return None
        outer = visit.opened_by
        assert isinstance(outer, RequestOpener)
        if self._agreed is not outer.runtime:
            self._agree(outer.runtime)
        visit.clearing_ends = self._clearing_ends
        notes[self.place] = visit
        return visit

    def _agree(self, outer: Runtime) -> None:
        try:
            agree(outer, self.runtime)
        except ConfigurationError as error:
            # Some frameworks answer 500 and say nowhere why.
            if not self._complained:
                self._complained = True
                _log.error("%s", error)
            raise
        self._agreed = outer

    def ids_of(self, request: _Request) -> tuple[str, ...]:
        """Return what a request gives as ids, authentic or not: in its cookies and its header."""
        values = self._cookies.values(self._cookies_of(request))
        given = self._header_of(request, self._header_name) if self._header_name else None
        return values if given is None else (*values, given)
