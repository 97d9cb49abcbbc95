"""Opens a request: finds which ids it brings, and how its client may be told one.

It is the same for every adapter. What an adapter adds is how the headers of its requests are read.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from clustersession.requests.cookie import CookieReader, as_text, cookie_values
from clustersession.requests.paths import PathParameter, path_excluder
from clustersession.session.manager import SessionManager
from clustersession.session.seen import seen_cookie_name
from clustersession.session.visit import Visit
from clustersession.settings.settings import Settings

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


class RequestOpener(Generic[_Request]):
    """Opens the requests of one application, as its settings say; nothing of it changes.

    cookies_of: a request's Cookie headers in one, empty without any; as text or as they came.
    header_of: the value of another header, None when the request has none.
    clearing_ends: whether ``session.clear()`` is the framework's logout.

    Attributes:
        ready_path: of health checks; empty: there are none.
        url_parameter: the id in the path. None: it is not looked for. Only those adapters can use
            it that see the path before the application is routed.
        is_excluded: tells whether a path has no session; None: each has one. ``open`` asks it; so
            do adapters that need no manager on such a path.
    """

    def __init__(
        self,
        settings: Settings,
        cookies_of: Callable[[_Request], str | bytes],
        header_of: Callable[[_Request, str], str | None],
        *,
        clearing_ends: bool = False,
    ) -> None:
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
        self, manager: SessionManager, request: _Request, path: str, url_value: str | None = None
    ) -> Visit | None:
        """Open the session of a request; None on a path that is excluded.

        ``url_value`` is what ``url_parameter`` found. When the visit is ``missing`` its session,
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
        if self._legacy_cookie and manager.legacy is not None:
            old_values = cookie_values(as_text(cookies), self._legacy_cookie)
            manager.legacy.adopt(visit, old_values)
        return visit

    def ids_of(self, request: _Request) -> tuple[str, ...]:
        """Return what a request gives as ids, authentic or not: in its cookies and its header."""
        values = self._cookies.values(self._cookies_of(request))
        given = self._header_of(request, self._header_name) if self._header_name else None
        return values if given is None else (*values, given)
