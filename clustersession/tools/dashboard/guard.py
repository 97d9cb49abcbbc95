"""Who may use the dashboard: tokens, the cookie, form tokens, host names and headers.

No state: whoever knows the key can judge every cookie, so that all workers of a mounted dashboard
agree. A cookie is ``kind.expires.nonce.mac``; ``form`` lets a browser send the login form and
nothing else, ``in`` is somebody who showed the token.
"""

import hmac
import re
import secrets
import time
from collections.abc import Iterable
from hashlib import sha256

COOKIE = "clustersession_dashboard"
LOGIN_LIFE_S = 8 * 3600
FORM_LIFE_S = 3600
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_IN, _FORM = "in", "form"

# RFC 9110, section 7.2, without user information and without what no name of ours holds.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z._-]+))(?::[0-9]{1,5})?")


class Guard:
    """Judges requests.

    token: what a person types in; empty: only the one-time token of ``new_ticket`` lets anybody in.
    hosts: names in the Host header, besides loopback, under which the dashboard may be reached.
    """

    def __init__(self, token: str = "", hosts: Iterable[str] = ()) -> None:
        self._token = token.encode()
        material = self._token or secrets.token_bytes(32)
        self._key = hmac.digest(material, b"clustersession dashboard", "sha256")
        self._hosts = LOOPBACK_NAMES | {name.lower().strip("[]") for name in hosts}
        self._ticket = b""

    @property
    def takes_token(self) -> bool:
        """Whether there is a token to type in."""
        return bool(self._token)

    def new_ticket(self) -> str:
        """A token that lets one browser in, once; the one before is void."""
        ticket = secrets.token_urlsafe(24)
        self._ticket = ticket.encode()
        return ticket

    def use_ticket(self, given: str) -> bool:
        """Whether it is the one-time token; it is void from now on."""
        if not self._ticket or not hmac.compare_digest(_hashed(self._ticket), _hashed(given)):
            return False
        self._ticket = b""
        return True

    def is_token(self, given: str) -> bool:
        """Whether it is the configured token."""
        # Hashes are compared, so that the time does not even tell the length.
        return self.takes_token and hmac.compare_digest(_hashed(self._token), _hashed(given))

    def login_cookie(self) -> str:
        """A cookie for somebody who showed a token."""
        return self._signed(_IN, LOGIN_LIFE_S)

    def form_cookie(self) -> str:
        """A cookie for somebody who may show one."""
        return self._signed(_FORM, FORM_LIFE_S)

    def is_in(self, cookie: str) -> bool:
        """Whether the cookie is that of somebody who showed a token, and not too old."""
        return self._kind(cookie) == _IN

    def form_token(self, cookie: str) -> str:
        """What every form carries: of use only together with the cookie."""
        return hmac.new(self._key, b"form " + cookie.encode(), sha256).hexdigest()

    def accepts_form(self, cookie: str, form_token: str) -> bool:
        """Whether a form was made for the browser that holds the cookie."""
        return bool(self._kind(cookie)) and hmac.compare_digest(
            _hashed(self.form_token(cookie)), _hashed(form_token)
        )

    def accepts_host(self, host: str) -> bool:
        """Whether the Host header names us. Another name may have been bound to our address."""
        name = host_name(host)
        return bool(name) and name in self._hosts

    def _signed(self, kind: str, life_s: int) -> str:
        body = f"{kind}.{int(time.time()) + life_s}.{secrets.token_hex(16)}"
        return f"{body}.{self._mac(body)}"

    def _mac(self, body: str) -> str:
        return hmac.new(self._key, b"cookie " + body.encode(), sha256).hexdigest()

    def _kind(self, cookie: str) -> str:
        body, _, mac = cookie.rpartition(".")
        if not hmac.compare_digest(_hashed(self._mac(body)), _hashed(mac)):
            return ""
        kind, expires, _ = body.split(".")
        return kind if int(expires) > time.time() else ""


def host_name(host: str) -> str:
    """The name in a Host header, without the port; empty for what is no host and port."""
    found = _HOST.fullmatch(host)
    return "" if found is None else (found[1] or found[2]).lower()


def is_same_origin(host: str, origin: str | None, fetch_site: str | None) -> bool:
    """Whether a browser says that a form came from one of our own pages. Silence is no objection:
    the form token decides then.
    """
    if fetch_site not in (None, "same-origin"):
        return False
    return origin is None or origin.partition("://")[2].lower() == host.lower()


def headers(nonce: str) -> dict[str, str]:
    """What every answer carries. Scripts and styles need the nonce; nothing comes from outside."""
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
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return sha256(data).digest()
