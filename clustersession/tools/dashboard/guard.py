"""Judges who may use the dashboard: tokens, the cookie, form tokens, host names, headers.

Whoever knows the key can judge every cookie, so that all workers of a mounted dashboard agree. A
cookie is ``nonce.time.signature``, of one of two kinds that differ in the signature's salt: one
lets a browser send the login form and nothing else, the other is of somebody who showed the token.
"""

import hmac
import secrets
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from itsdangerous import Signer, TimestampSigner

from clustersession.net.host_header import host_name

COOKIE = "clustersession_dashboard"
LOGIN_LIFE_S = 8 * 3600
FORM_LIFE_S = 3600
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_SIGNING: dict[str, Any] = {"key_derivation": "hmac", "digest_method": sha256}


class Guard:
    """Judges requests, and makes what they are judged by.

    token: what a person types in; empty: only the one-time token of ``new_ticket`` lets anybody in.
    hosts: names in the Host header, besides loopback, under which the dashboard may be reached.

    State: ``_ticket``, the one-time token that is still good; empty before the first and after its
    use. Everything else follows from the arguments; without a token the key is this object's own.
    """

    def __init__(self, token: str = "", hosts: Iterable[str] = ()) -> None:
        self._token = token.encode()
        key = self._token or secrets.token_bytes(32)
        self._login = TimestampSigner(key, b"clustersession dashboard login", **_SIGNING)
        self._form = TimestampSigner(key, b"clustersession dashboard form", **_SIGNING)
        self._form_token = Signer(key, b"clustersession dashboard form token", **_SIGNING)
        self._hosts = LOOPBACK_NAMES | {name.lower().strip("[]") for name in hosts}
        self._ticket = b""

    @property
    def takes_token(self) -> bool:
        """Tell whether there is a token to type in."""
        return bool(self._token)

    def new_ticket(self) -> str:
        """Make a token that lets one browser in, once; the one before is void."""
        ticket = secrets.token_urlsafe(24)
        self._ticket = ticket.encode()
        return ticket

    def use_ticket(self, given: str) -> bool:
        """Tell whether it is the one-time token, which is void from now on."""
        if not self._ticket or not hmac.compare_digest(_hashed(self._ticket), _hashed(given)):
            return False
        self._ticket = b""
        return True

    def is_token(self, given: str) -> bool:
        """Tell whether it is the configured token."""
        # Hashes are compared, so that the time does not even tell the length.
        return self.takes_token and hmac.compare_digest(_hashed(self._token), _hashed(given))

    def login_cookie(self) -> str:
        """Make a cookie for somebody who showed a token."""
        return self._login.sign(secrets.token_urlsafe(16)).decode()

    def form_cookie(self) -> str:
        """Make a cookie for somebody who may show one."""
        return self._form.sign(secrets.token_urlsafe(16)).decode()

    def is_in(self, cookie: str) -> bool:
        """Tell whether the cookie is that of somebody who showed a token, and not too old."""
        return self._login.validate(_bytes(cookie), max_age=LOGIN_LIFE_S)

    def form_token(self, cookie: str) -> str:
        """Make what every form carries: of use only together with the cookie."""
        return self._form_token.get_signature(_bytes(cookie)).decode()

    def accepts_form(self, cookie: str, form_token: str) -> bool:
        """Tell whether a form was made for the browser that holds the cookie."""
        known = self.is_in(cookie) or self._form.validate(_bytes(cookie), max_age=FORM_LIFE_S)
        return known and self._form_token.verify_signature(_bytes(cookie), _bytes(form_token))

    def accepts_host(self, host: str) -> bool:
        """Tell whether the Host header names us: any name may have been bound to our address."""
        name = host_name(host)
        return bool(name) and name in self._hosts


def is_same_origin(host: str, origin: str | None, fetch_site: str | None) -> bool:
    """Tell whether a form may have come from one of our own pages, by what the browser says.

    Where it says nothing, the form token decides.
    """
    if fetch_site not in (None, "same-origin"):
        return False
    return origin is None or origin.partition("://")[2].lower() == host.lower()


def headers(nonce: str) -> dict[str, str]:
    """Make every answer's headers: scripts and styles need the nonce, nothing is from outside."""
    return {
        "content-security-policy": (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        ),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }


def _hashed(value: str | bytes) -> bytes:
    return sha256(_bytes(value)).digest()


def _bytes(value: str | bytes) -> bytes:
    # What a stranger sends may hold halves of characters.
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
