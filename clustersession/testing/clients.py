"""Gives cookies to the test clients of frameworks.

A kind of client is a row of ``_CLIENTS``: the package that its class is from, how to get from it to
the application, and how it is given a cookie. The first row that fits counts.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from clustersession.testing.apps import packages_of
from clustersession.worker.runtime import Runtime

Setter = Callable[[Any, Runtime, str, str], None]


class ClientKind(NamedTuple):
    """Says how to use one kind of test client.

    app: the name of the attribute with the application; empty: there is none.
    method: what tells such clients from other objects of the package.
    set_cookie: gives it a cookie, by name and value.
    """

    package: str
    method: str
    app: str
    set_cookie: Setter


def kind_of(value: Any) -> ClientKind | None:
    """Return which kind of client something is; None for what is an application."""
    packages = packages_of(value)
    fitting = (k for k in _CLIENTS if k.package in packages and hasattr(value, k.method))
    return next(fitting, None)


def app_of(client: Any, kind: ClientKind) -> Any:
    """Return the application that a client calls."""
    app = client
    for name in filter(None, kind.app.split(".")):
        app = getattr(app, name, None)
    return app


def _werkzeug(client: Any, runtime: Runtime, name: str, value: str) -> None:
    settings = runtime.settings
    config = getattr(client.application, "config", None) or {}
    host = str(config.get("SERVER_NAME") or "localhost").partition(":")[0]
    domain = settings.cookie_domain.lstrip(".")
    # One that names a domain goes to the hosts below it as well.
    client.set_cookie(
        name, value, domain=domain or host, origin_only=not domain, path=settings.cookie_path
    )


def _quart(client: Any, runtime: Runtime, name: str, value: str) -> None:
    host = str(client.app.config.get("SERVER_NAME") or "localhost").partition(":")[0]
    domain = runtime.settings.cookie_domain or None
    client.set_cookie(host, name, value, domain=domain, path=runtime.settings.cookie_path)


def _httpx(client: Any, runtime: Runtime, name: str, value: str) -> None:
    settings = runtime.settings
    host = urlsplit(str(client.base_url)).hostname or ""
    # As Python's cookie jar files what the application sends, which is then to take its place.
    host = host if "." in host else f"{host}.local"
    domain = settings.cookie_domain and "." + settings.cookie_domain.lstrip(".")
    client.cookies.set(name, value, domain=domain or host, path=settings.cookie_path)


def _django(client: Any, runtime: Runtime, name: str, value: str) -> None:
    client.cookies[name] = value


def _aiohttp(client: Any, runtime: Runtime, name: str, value: str) -> None:
    path = runtime.settings.cookie_path
    client.session.cookie_jar.update_cookies({name: value}, client.make_url(path))


def _webtest(client: Any, runtime: Runtime, name: str, value: str) -> None:
    client.set_cookie(name, value)


_CLIENTS = (
    ClientKind("quart", "cookie_jar", "app", _quart),
    ClientKind("werkzeug", "set_cookie", "application", _werkzeug),
    # Before httpx, of which the clients of Starlette and Litestar are subclasses.
    ClientKind("starlette", "base_url", "app", _httpx),
    ClientKind("litestar", "base_url", "app", _httpx),
    ClientKind("httpx", "base_url", "_transport.app", _httpx),
    ClientKind("django", "cookies", "", _django),
    ClientKind("aiohttp", "make_url", "app", _aiohttp),
    ClientKind("webtest", "set_cookie", "app", _webtest),
)
