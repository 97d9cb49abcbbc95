"""Reading the cookie header, writing Set-Cookie. The value is never quoted: balancers read it."""

from clustersession.core.memo import Memo
from clustersession.settings.settings import Settings

VALUES_MAX = 8
"""Cookies of our name considered in one request: a bound on lookups for a made-up header."""

_HEADERS_MAX = 2048
_HEADER_LENGTH_MAX = 1024
"""Together they bound what is remembered of headers."""


def cookie_values(header: str, name: str) -> list[str]:
    """All values of the cookie ``name``, in the order they came, at most VALUES_MAX."""
    if name not in header:
        return []
    prefix = name + "="
    if ";" not in header and header.startswith(prefix):
        return [header[len(prefix) :].strip()]
    found = [
        pair[len(prefix) :].strip()
        for part in header.split(";")
        if (pair := part.strip()).startswith(prefix)
    ]
    return found[:VALUES_MAX]


class CookieReader:
    """Reads the values of one cookie, and remembers them: a client sends the same header again."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: Memo[str | bytes, tuple[str, ...]] = Memo(_HEADERS_MAX)

    def values(self, header: str | bytes) -> tuple[str, ...]:
        """``cookie_values`` of a header, as text or as it came."""
        known = self._known.get(header)
        if known is None:
            text = header if isinstance(header, str) else header.decode("latin-1")
            known = tuple(cookie_values(text, self._name))
            if len(header) <= _HEADER_LENGTH_MAX:
                self._known.put(header, known)
        return known


class CookieWriter:
    """Formats Set-Cookie header values with the flags of the settings.

    name: of the cookie, when it is not the session's own.
    """

    def __init__(self, settings: Settings, name: str = "") -> None:
        self._name = name or settings.cookie_name
        flags = f"; Path={settings.cookie_path or '/'}"
        if settings.cookie_domain:
            flags += f"; Domain={settings.cookie_domain}"
        if settings.cookie_secure:
            flags += "; Secure"
        if settings.cookie_httponly:
            flags += "; HttpOnly"
        if settings.cookie_samesite:
            flags += f"; SameSite={settings.cookie_samesite.capitalize()}"
        if settings.cookie_partitioned:
            flags += "; Partitioned"
        self._flags = flags

    def assign(self, value: str, max_age_s: int) -> str:
        """The header value that sets the cookie; ``max_age_s`` 0: until the browser closes."""
        age = f"; Max-Age={max_age_s}" if max_age_s > 0 else ""
        return f"{self._name}={value}{age}{self._flags}"

    def delete(self) -> str:
        """The header value that removes the cookie; old clients understand only Expires."""
        return f"{self._name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{self._flags}"
