"""Tells another middleware's session in the ASGI scope from one that the application assigned.

Session middlewares of others may be inside ours: a mounted application has its own, or one was
forgotten. They put their session into ``scope["session"]``, in place of ours. To take that for what
the application wants in our session would empty ours, whenever theirs is empty.

Nobody can see who wrote into a dict. What is known: the sessions of Starlette's middleware have a
class of their own. Other middlewares put a plain dict there, as applications do; so where one that
does is inside, every replacement counts as its own.
"""

import dis
import logging
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakSet

from clustersession.worker.runtime import Runtime

_log = logging.getLogger("clustersession")

_LEADS_INSIDE = (
    "app", "middleware_stack", "user_middleware", "cls", "router", "routes", "route_handlers",
    "middleware", "asgi_handler", "asgi_handlers", "asgi_app", "children", "root_route_map_node",
)
"""How Starlette, Litestar and middlewares name what is inside them."""

NODES_MAX = 10_000
"""How much of an application is looked at: a bound for objects that have every attribute."""

_MARK_OF_SESSIONS = "mark_accessed"
"""A method that Starlette's sessions have: the request tells them that somebody looked."""

_NOT_ASKED_FOR = (
    "starlette.middleware.sessions", "clustersession.", "litestar.security.session_auth",
)
"""Modules of middlewares whose sessions have a class of their own, or which only end sessions."""

_told: WeakSet[Runtime] = WeakSet()
"""For whom the log has said that there is another session."""


class ScopeSessions:
    """Judges the sessions that are found in the scopes of one application in place of ours.

    _inner: the middleware inside that puts plain dicts there; empty without one, and before it was
        looked for.
    """

    def __init__(self, app: object, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime
        self._searched = False
        self._inner = ""

    def is_foreign(self, found: object) -> bool:
        """Tell whether another middleware has put this there; the log says so once."""
        if found is None:
            return False
        if hasattr(found, _MARK_OF_SESSIONS):
            kind = type(found)
            self._tell(f"a {kind.__qualname__} of {kind.__module__}")
            return True
        if not self._searched:
            self._searched, self._inner = True, _find_assigning(self._app)
        if self._inner:
            self._tell(f"one of {self._inner}")
        return bool(self._inner)

    def _tell(self, session: str) -> None:
        if self._runtime not in _told:
            _told.add(self._runtime)
            _log.warning(
                "a session middleware inside ours gives a part of the application a session of "
                "its own, %s, which is not clustered; ours stays as it is beside it. To share "
                "ours, remove the inner middleware", session,
            )


def inside(app: object) -> Iterator[Any]:
    """Go through an application and what is inside it, as far as that can be seen."""
    seen: set[int] = set()
    waiting: list[Any] = [app]
    while waiting and len(seen) < NODES_MAX:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, (list, tuple)):
            waiting.extend(node)
        elif isinstance(node, dict):
            waiting.extend(list(node.values()))
        elif isinstance(node, FunctionType):
            waiting.extend(_closed_over(node).values())
        else:
            waiting.extend(_attribute(node, name) for name in _LEADS_INSIDE)


def _attribute(node: object, name: str) -> object:
    try:
        return getattr(node, name, None)
    except Exception:
        return None  # such as of a proxy outside of a request


def _find_assigning(app: object) -> str:
    """Name a middleware inside an application that assigns ``scope["session"]``; empty: none."""
    for node in inside(app):
        kind: Any = node if isinstance(node, (type, FunctionType)) else type(node)
        if kind.__module__.startswith(_NOT_ASKED_FOR):
            continue
        if any(_assigns_session(function.__code__) for function in _functions_around(node)):
            return f"{kind.__module__}.{kind.__qualname__}"
    return ""


def _functions_around(node: object) -> list[FunctionType]:
    """Return the functions of a middleware; none of an application with nothing inside it."""
    if isinstance(node, FunctionType):
        return [node] if "app" in _closed_over(node) else []
    if isinstance(node, type):
        return _functions_of(node)
    return _functions_of(type(node)) if callable(_attribute(node, "app")) else []


def _closed_over(function: FunctionType) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    return found


def _functions_of(kind: type) -> list[FunctionType]:
    """Return a class's functions, with those that a decorator has wrapped."""
    members = [member for base in kind.__mro__ for member in vars(base).values()]
    functions = [member for member in members if isinstance(member, FunctionType)]
    wrapped = [inner for function in functions for inner in _closed_over(function).values()]
    return functions + [inner for inner in wrapped if isinstance(inner, FunctionType)]


def _assigns_session(code: CodeType) -> bool:
    """Tell whether a function, or one inside it, assigns to the key "session" of something."""
    before: object = None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "STORE_SUBSCR" and before == "session":
            return True
        before = instruction.argval
    return any(_assigns_session(part) for part in code.co_consts if isinstance(part, CodeType))
