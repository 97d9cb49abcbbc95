"""Reads a request's cookies; ``session.cookie`` writes them."""

from clustersession.core.memo import Memo

VALUES_MAX = 8
"""Cookies of our name considered in one request: a bound on lookups for a made-up header."""

_HEADERS_MAX = 4096
_HEADER_LENGTH_MAX = 1024
"""Together they bound what is remembered of headers."""


def cookie_values(header: str, name: str) -> list[str]:
    """Return the values of the cookie ``name``, in the order they came, at most VALUES_MAX."""
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
        """Return ``cookie_values`` of a header, as text or as it came."""
        known = self._known.get(header)
        if known is None:
            known = tuple(cookie_values(as_text(header), self._name))
            if len(header) <= _HEADER_LENGTH_MAX:
                self._known.put(header, known)
        return known


def as_text(header: str | bytes) -> str:
    """Return a header as text, however the server gave it."""
    return header if isinstance(header, str) else header.decode("latin-1")
