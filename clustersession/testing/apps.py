"""Finds the runtime of ours that an application serves its sessions with.

A framework is a row of ``_FRAMEWORKS``: the package that its applications are from, and how to get
from one to the runtime, or to what to look at next. Most need none, because what wraps an
application in ASGI or WSGI is looked through anyway.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from clustersession.worker.runtime import Runtime

_WRAPPED = ("app", "application", "wsgi_app", "asgi_app", "asgi_handler", "_app")
"""Attributes under which middleware keeps what it stands before."""
_LOOKED_AT_MAX = 200


class Framework(NamedTuple):
    """Says how to find the runtime of one framework's applications.

    package: where the class of an application, or one of its bases, is from.
    look: gives runtimes, or objects to look at in the application's place.
    """

    package: str
    look: Callable[[Any], Iterator[Any]]


def runtime_of(app: Any) -> Runtime:
    """Return the runtime of an application. Raises LookupError when it has none of ours."""
    queue, seen = [app], set[int]()
    while queue and len(seen) < _LOOKED_AT_MAX:
        found = queue.pop(0)
        if isinstance(found, Runtime):
            return found
        if id(found) not in seen:
            seen.add(id(found))
            queue += _next(found)
    if "django" in packages_of(app):
        return _of_django()
    raise LookupError(
        f"this {type(app).__qualname__} has no sessions of clustersession: pass the application "
        "that ClusterSession, the middleware or the plugin was added to, or a test client of it"
    )


def packages_of(value: Any) -> set[str]:
    """Return the top-level packages that an object's class and its bases are from."""
    return {base.__module__.partition(".")[0] for base in type(value).__mro__}


def _next(value: Any) -> Iterator[Any]:
    packages = packages_of(value)
    for package, look in _FRAMEWORKS:
        if package in packages:
            yield from look(value)
    own = getattr(value, "__dict__", {})
    runtime = own.get("runtime")
    if isinstance(runtime, Runtime):
        yield runtime
    for name in _WRAPPED:
        wrapped = own.get(name)
        # A bound method, as of ``app.wsgi_app``, leads to its object.
        yield from filter(None, (getattr(wrapped, "__self__", None), wrapped))


def _of_flask(app: Any) -> Iterator[Any]:
    find = getattr(getattr(app, "session_interface", None), "runtime", None)
    if find is not None:
        yield find(app)


def _of_starlette(app: Any) -> Iterator[Any]:
    if hasattr(app, "build_middleware_stack"):
        # As the first request does.
        if app.middleware_stack is None:
            app.middleware_stack = app.build_middleware_stack()
        yield app.middleware_stack


def _of_litestar(app: Any) -> Iterator[Any]:
    yield from getattr(app, "plugins", ())


def _of_aiohttp(app: Any) -> Iterator[Any]:
    yield from (getattr(each, "__self__", None) for each in getattr(app, "middlewares", ()))


def _of_tornado(app: Any) -> Iterator[Any]:
    yield getattr(app, "settings", {}).get("clustersession")


def _of_sanic(app: Any) -> Iterator[Any]:
    yield getattr(getattr(app, "ctx", None), "clustersession", None)


def _of_pyramid(app: Any) -> Iterator[Any]:
    from pyramid.interfaces import ISessionFactory

    if hasattr(app, "registry"):
        yield app.registry.queryUtility(ISessionFactory)


def _of_django() -> Runtime:
    from clustersession.django.configuration import runtime

    return runtime()


_FRAMEWORKS = [
    Framework("flask", _of_flask),
    Framework("quart", _of_flask),
    Framework("starlette", _of_starlette),
    Framework("litestar", _of_litestar),
    Framework("aiohttp", _of_aiohttp),
    Framework("tornado", _of_tornado),
    Framework("sanic", _of_sanic),
    Framework("pyramid", _of_pyramid),
]


def is_django(value: Any) -> bool:
    """Tell whether something is of Django, whose project has one runtime."""
    return "django" in sys.modules and "django" in packages_of(value)
