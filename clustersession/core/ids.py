"""Joins and splits session ids and routes as they stand in the cookie: ``<id>.<route>``.

Balancers cut at the first dot or at the last one, and agree only on a value with exactly one;
mod_jk reads a dot inside the route as a domain, nginx's usual expression stops at a hyphen, and
nginx keeps at most 32 characters. Hence the form below.
"""

import re
from hashlib import sha256

ROUTE_LENGTH_MAX = 32
ROUTE_PATTERN = re.compile(r"[A-Za-z0-9_]{1,32}")
KEY_LENGTH = 23
ID_LENGTH = 39
_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{39}")


def is_route(text: str) -> bool:
    """Tell whether the text is a legal route."""
    return ROUTE_PATTERN.fullmatch(text) is not None


def derive_route(host_name: str) -> str:
    """Make a legal route of a host name: its first label, with underscores for other characters.

    A label too long keeps its end, where pod names differ.
    """
    label = re.sub(r"[^A-Za-z0-9_]", "_", host_name.split(".", 1)[0])
    return label[-ROUTE_LENGTH_MAX:] or "node"


def split_cookie(value: str) -> tuple[str, str | None] | None:
    """Return the id and the route of a cookie value, or None when no id can be read from it.

    The cut is at the first dot, like mod_jk and httpd. A missing or malformed route is no error:
    the route is advice and plays no part in the identity of the session.
    """
    identifier, _, route = value.strip('"').partition(".")
    if _ID_PATTERN.fullmatch(identifier) is None:
        return None
    return identifier, route if is_route(route) else None


def join_cookie(identifier: str, route: str) -> str:
    """Return the cookie value for an id on a route."""
    return f"{identifier}.{route}"


def log_name(key: str) -> str:
    """Name a session as it may appear in a log: 8 hexadecimal digits of a hash, not the id."""
    return sha256(key.encode()).hexdigest()[:8]
