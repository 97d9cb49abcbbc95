"""Finds the session that an adapter of ours around this one has opened for the same request.

One application may be inside another, each with a middleware of ours, or an extension. A browser
that was given two sessions would keep one cookie, so the inner one takes the session that is there,
and the outermost commits it and answers the client.

The adapter that opens a session notes it in the request's own dict, which whoever is inside gets:
the ASGI scope or the WSGI environ. A bridge between the two makes one out of the other. From inside
an ASGI application the way back is a context variable, which bridges take along into their threads.
Other requests can be made in that context as well, such as a test client's, so everything that the
two say of the request has to be the same.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import fields
from typing import Any

from clustersession.core.errors import ConfigurationError
from clustersession.session.visit import Visit
from clustersession.settings.settings import Settings
from clustersession.worker.runtime import Runtime

WSGI_ENVIRON = "wsgi_environ"
"""Where the bridge a2wsgi leaves the environ in the scope that it makes of it."""

outer_scope: ContextVar[Mapping[str, Any] | None] = ContextVar(
    "clustersession_scope", default=None
)
"""The scope of the ASGI request that is being served in this context."""

bridged: list[bool] = []
"""Not empty when some adapter of this process may be reached by a bridge only; then it stays so."""

_OF_ITS_PLACE = frozenset({"exclude", "ready_path", "url_parameter"})
"""Settings that say which requests one adapter serves: around another they may differ."""

_SEPARATORS = re.compile(r"[;,\s]+")


def place_of(settings: Settings) -> str:
    """Return under which name a request's dict has the visit: there is one for each cookie."""
    return f"clustersession.visit.{settings.cookie_name}"


def expect_bridges() -> None:
    """Have ASGI requests leave word for adapters of WSGI applications, which costs each of them."""
    if not bridged:
        bridged.append(True)


def leave_word(scope: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Note which request is served in this context; returns what was noted before.

    To be called where ``bridged`` says so: most processes do without.
    """
    before = outer_scope.get()
    outer_scope.set(scope)
    return before


def find_outer(request: Mapping[str, Any], place: str) -> Visit | None:
    """Return the visit that was opened for this request, a scope or an environ, and is not over."""
    visit = request.get(place)
    if visit is None:
        if "REQUEST_METHOD" in request:
            scope = outer_scope.get()
            if scope is not None and place in scope and _is_made_of(request, scope):
                visit = scope[place]
        elif WSGI_ENVIRON in request:
            visit = request[WSGI_ENVIRON].get(place)
    return visit if isinstance(visit, Visit) and visit.is_open else None


def same_cookies(one: str, other: str) -> bool:
    """Tell whether two Cookie headers say the same; a bridge may have joined several to one."""
    return one == other or _SEPARATORS.split(one) == _SEPARATORS.split(other)


def _is_made_of(environ: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
    """Tell whether a bridge made this environ out of that scope."""
    client, query = scope.get("client"), scope.get("query_string", b"")
    path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")
    if (
        scope.get("method") != environ["REQUEST_METHOD"]
        or query.decode("latin-1") != environ.get("QUERY_STRING", "")
        or not scope["path"].endswith(path)
        or (client and environ.get("REMOTE_ADDR", client[0]) != client[0])
    ):
        return False
    theirs = {name[5:] for name in environ if name.startswith("HTTP_")}
    ours: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        known_as = name.decode("latin-1").upper().replace("-", "_")
        ours.setdefault(known_as, []).append(value.decode("latin-1"))
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        ours.pop(name, None)
        theirs.discard(name)
    return theirs == ours.keys() and all(
        same_cookies(" ".join(values), environ[f"HTTP_{name}"]) for name, values in ours.items()
    )


def agree(outer: Runtime, inner: Runtime) -> None:
    """See to it that one session can serve both; the callbacks of both are called for it.

    Raises ConfigurationError when the settings differ.
    """
    free = _OF_ITS_PLACE | outer.implied | inner.implied
    differences = [
        _difference(field.name, field.repr, outer.settings, inner.settings)
        for field in fields(Settings)
        if field.name not in free
        and getattr(outer.settings, field.name) != getattr(inner.settings, field.name)
    ]
    if differences:
        raise ConfigurationError(
            "one of our session middlewares is inside another one with the same cookie_name, "
            f"{inner.settings.cookie_name!r}, and with other settings: {'; '.join(differences)}. "
            "Give both the same settings, or remove the inner one, or give it a cookie_name of "
            "its own for a session of its own"
        )
    outer.events.include(inner.events)


def check_inside(app: object, outer: Runtime) -> None:
    """Refuse what ``agree`` would, when the applications are made, as far as that can be seen.

    What is mounted deeper inside is judged at its first request.
    """
    seen: set[int] = set()
    while app is not None and id(app) not in seen:
        seen.add(id(app))
        inner = getattr(app, "runtime", None)
        if (
            isinstance(inner, Runtime)
            and not inner.is_refused  # its own error says more
            and inner.settings.cookie_name == outer.settings.cookie_name
        ):
            agree(outer, inner)
        # Frameworks and middlewares name what is inside them so.
        app = getattr(app, "app", None)


def _difference(name: str, shown: bool, outer: Settings, inner: Settings) -> str:
    if not shown:
        return f"{name} is not the same"
    return f"{name} is {getattr(outer, name)!r} outside and {getattr(inner, name)!r} inside"

