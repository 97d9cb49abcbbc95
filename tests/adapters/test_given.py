"""What an application gives by its framework's names, and what it leaves open, in each adapter."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from fastapi import FastAPI
from flask import Flask
from quart import Quart
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from tornado.web import Application

from clustersession.aiohttp import ClusterSession as AiohttpClusterSession
from clustersession.aiohttp.storage import ClusterSessionStorage
from clustersession.asgi import ClusterSessionMiddleware
from clustersession.beaker import SessionMiddleware
from clustersession.core.errors import ConfigurationError
from clustersession.flask import ClusterSession
from clustersession.litestar import ClusterSessionPlugin
from clustersession.litestar.store import ClusterStore
from clustersession.pyramid import ClusterSessionFactory
from clustersession.quart import ClusterSession as QuartClusterSession
from clustersession.sanic import ClusterSession as SanicClusterSession
from clustersession.settings.settings import Settings
from clustersession.tornado import ClusterSession as TornadoClusterSession
from clustersession.wsgi import ClusterSessionMiddleware as WsgiMiddleware

DAY_S = 86_400


def of_flask(**options: Any) -> Settings:
    app = Flask("app")
    ClusterSession(app, **options)
    return app.session_interface.runtime(app).settings  # type: ignore[attr-defined,no-any-return]


def of_flask_config(**options: Any) -> Settings:
    app = Flask("app")
    distributable = options.pop("distributable", ...)
    if distributable is not ...:
        app.config["DISTRIBUTABLE"] = distributable
    app.config.update({f"CLUSTERSESSION_{name.upper()}": v for name, v in options.items()})
    ClusterSession(app)
    return app.session_interface.runtime(app).settings  # type: ignore[attr-defined,no-any-return]


def of_quart(**options: Any) -> Settings:
    app = Quart("app")
    QuartClusterSession(app, **options)
    return app.session_interface.runtime(app).settings  # type: ignore[attr-defined,no-any-return]


def of_fastapi(**options: Any) -> Settings:
    app = FastAPI()
    app.add_middleware(ClusterSessionMiddleware, **options)
    app.build_middleware_stack()
    return ClusterSessionMiddleware(app, **options).runtime.settings


def of_asgi(**options: Any) -> Settings:
    return ClusterSessionMiddleware(Starlette(), **options).runtime.settings


def of_wsgi(**options: Any) -> Settings:
    return WsgiMiddleware(lambda environ, start: [], **options).runtime.settings


def of_pyramid(**options: Any) -> Settings:
    return ClusterSessionFactory(**options).runtime.settings


def of_beaker(**options: Any) -> Settings:
    return SessionMiddleware(lambda environ, start: [], **options).runtime.settings


def of_litestar(**options: Any) -> Settings:
    return ClusterSessionPlugin(**options).runtime.settings


def of_litestar_store(**options: Any) -> Settings:
    return ClusterStore(**options).runtime.settings


def of_aiohttp(**options: Any) -> Settings:
    return AiohttpClusterSession(web.Application(), **options).runtime.settings


def of_aiohttp_storage(**options: Any) -> Settings:
    return ClusterSessionStorage(web.Application(), **options).runtime.settings


def of_tornado(**options: Any) -> Settings:
    return TornadoClusterSession(Application(), **options).runtime.settings


def of_sanic(**options: Any) -> Settings:
    return SanicClusterSession(**options).runtime.settings


MIDDLEWARES = (
    of_asgi, of_wsgi, of_fastapi, of_litestar, of_litestar_store, of_aiohttp, of_aiohttp_storage,
    of_tornado, of_pyramid, of_beaker, of_sanic,
)
ALL = (*MIDDLEWARES, of_flask, of_flask_config, of_quart)
Adapter = Callable[..., Settings]


@pytest.mark.parametrize("adapter", ALL)
def test_none_leaves_it_to_the_environment(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not adapter(distributable=None).distributable
    monkeypatch.setenv("CLUSTERSESSION_DISTRIBUTABLE", "true")
    monkeypatch.setenv("CLUSTERSESSION_ROUTE", "tomcat1")
    monkeypatch.setenv("CLUSTERSESSION_IDLE_TIMEOUT_S", "60")
    found = adapter(distributable=None, route=None, idle_timeout_s=None, cookie_max_age_s=None)
    assert (found.distributable, found.route, found.idle_timeout_s) == (True, "tomcat1", 60)
    assert not adapter(distributable=False).distributable


@pytest.mark.parametrize("adapter", ALL)
def test_an_unknown_name_is_refused_with_none_too(adapter: Adapter) -> None:
    with pytest.raises(ConfigurationError, match="distributable"):
        adapter(distributible=None)


@pytest.mark.parametrize(("make", "extension"), [
    (Flask, ClusterSession), (Quart, QuartClusterSession),
])
def test_an_argument_of_none_hides_no_configuration(make: Any, extension: Any) -> None:
    app = make("app")
    app.config.update(
        CLUSTERSESSION_ROUTE="a", CLUSTERSESSION_DISTRIBUTABLE=None, DISTRIBUTABLE=True
    )
    extension(app, route=None, distributable=None)
    found = app.session_interface.runtime(app).settings
    assert (found.route, found.distributable) == ("a", True)


@pytest.mark.parametrize("adapter", MIDDLEWARES)
def test_names_of_starlette_that_are_none_are_not_given(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLUSTERSESSION_SECRET", "qT8w-Lz3Rk5_vN0xYb7d")
    found = adapter(secret_key=None, max_age=None, domain=None, store=None, session_cookie=None)
    assert found == adapter()


@pytest.mark.parametrize("adapter", MIDDLEWARES)
@pytest.mark.parametrize("days", [14, 31, 365])
@pytest.mark.parametrize("name", ["max_age", "lifetime"])
def test_a_lifetime_by_the_framework_s_name_is_the_session_s_too(
    adapter: Adapter, days: int, name: str
) -> None:
    for given in (days * DAY_S, timedelta(days=days), str(days * DAY_S)):
        found = adapter(**{name: given})
        assert found.cookie_max_age_s == found.idle_timeout_s == days * DAY_S
        assert found.effective_absolute_timeout_s >= days * DAY_S
        assert found.effective_anonymous_absolute_timeout_s >= days * DAY_S
        assert found.longest_life_s >= days * DAY_S


@pytest.mark.parametrize("adapter", MIDDLEWARES)
def test_our_own_idle_timeout_counts_before_the_framework_s_lifetime(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert adapter(max_age=14 * DAY_S, idle_timeout_s=600).idle_timeout_s == 600
    assert adapter(cookie_max_age_s=14 * DAY_S).idle_timeout_s == 1800, "the cookie's alone"
    assert adapter(max_age=0).idle_timeout_s == 1800
    assert adapter(max_age=600).idle_timeout_s == 600
    monkeypatch.setenv("CLUSTERSESSION_IDLE_TIMEOUT_S", "900")
    found = adapter(max_age=14 * DAY_S)
    assert (found.idle_timeout_s, found.cookie_max_age_s) == (900, 14 * DAY_S)


@pytest.mark.parametrize(("options", "words"), [
    ({"max_age": 20 * 365 * DAY_S}, "max_age); it must be between 0 and 315,360,000"),
    ({"max_age": -1}, "max_age); it must be between"),
    ({"max_age": "long"}, "max_age); it must be a number"),
    ({"max_age": 600, "cookie_max_age_s": 600}, "max_age and cookie_max_age_s are one setting"),
    (
        {"max_age": 14 * DAY_S, "absolute_timeout_s": 7 * DAY_S},
        "at least idle_timeout_s, which is 1209600.0 (the web framework's setting max_age)",
    ),
])  # fmt: skip
@pytest.mark.parametrize("adapter", MIDDLEWARES)
def test_a_lifetime_that_cannot_be_has_one_error_in_its_own_name(
    adapter: Adapter, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        adapter(**options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_session_lives_as_long_as_its_cookie() -> None:
    async def page(request: Any) -> JSONResponse:
        request.session["a"] = 1
        return JSONResponse(request.session.idle_timeout)

    app = Starlette(routes=[Route("/", page)])
    app.add_middleware(ClusterSessionMiddleware, max_age=14 * DAY_S)
    with TestClient(app) as client:
        answer = client.get("/")
        assert answer.json() == 14 * DAY_S
        assert f"Max-Age={14 * DAY_S}" in answer.headers["set-cookie"]


@pytest.mark.parametrize(("make", "extension"), [
    (Flask, ClusterSession), (Quart, QuartClusterSession),
])
def test_a_permanent_lifetime_of_flask_that_no_session_can_have(make: Any, extension: Any) -> None:
    for lifetime in (timedelta(days=-1), timedelta(days=20 * 365)):
        app = make("app")
        app.config["PERMANENT_SESSION_LIFETIME"] = lifetime
        with pytest.raises(ConfigurationError, match=r"PERMANENT_SESSION_LIFETIME .* between 0"):
            extension(app)
    app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(days=3650)
    extension(app)
    found = app.session_interface.runtime(app).settings
    assert found.absolute_timeout_s == 3650 * DAY_S
