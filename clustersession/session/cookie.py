"""Writes Set-Cookie. The value is never quoted: balancers read it."""

from clustersession.settings.settings import Settings


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
        """Return the header value that sets the cookie; ``max_age_s`` 0: until a browser closes."""
        age = f"; Max-Age={max_age_s}" if max_age_s > 0 else ""
        return f"{self._name}={value}{age}{self._flags}"

    def delete(self) -> str:
        """Return the header value that removes the cookie; old clients understand only Expires."""
        return f"{self._name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{self._flags}"
