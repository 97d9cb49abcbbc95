"""Every kind of client gets a session that its application reads, and takes the next cookie."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import django.test
import flask
import httpx
import litestar
import litestar.testing
import pytest
import quart
import webtest
import werkzeug.test
from aiohttp import web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer as AiohttpServer
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from clustersession import asgi, wsgi
from clustersession.aiohttp import ClusterSession as AiohttpSession
from clustersession.aiohttp import session_of as aiohttp_session_of
from clustersession.django import configuration
from clustersession.flask import ClusterSession
from clustersession.litestar import ClusterSessionPlugin
from clustersession.quart import ClusterSession as QuartSession
from clustersession.testing import moved_clock, session_for
from clustersession.testing.clients import app_of, kind_of
from tests.adapters import django_project

SECRET = "a secret of the tests that is long enough"


def of_flask(**config: Any) -> flask.Flask:
    app = flask.Flask("shop")
    app.config.update(SECRET_KEY=SECRET, DISTRIBUTABLE=True, **config)
    ClusterSession(app)

    @app.get("/")
    def home() -> str:
        return str(flask.session.get("user"))

    @app.post("/login")
    def login() -> str:
        flask.session.rotate()  # type: ignore[attr-defined]
        flask.session["user"] = "bob"
        return "ok"

    return app


def of_wsgi() -> wsgi.ClusterSessionMiddleware:
    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        session = environ["clustersession.session"]
        if environ["PATH_INFO"] == "/login":
            session.rotate()
            session["user"] = "bob"
        start("200 OK", [("Content-Type", "text/plain")])
        return [str(session.get("user")).encode()]

    return wsgi.ClusterSessionMiddleware(app, secret=SECRET)


def of_starlette() -> Starlette:
    async def home(request: Request) -> Response:
        return PlainTextResponse(str(request.session.get("user")))

    async def login(request: Request) -> Response:
        asgi.session_of(request).rotate()
        request.session["user"] = "bob"
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/", home), Route("/login", login, methods=["POST"])])
    app.add_middleware(asgi.ClusterSessionMiddleware, secret_key=SECRET, https_only=True)
    return app


def of_litestar() -> litestar.Litestar:
    @litestar.get("/", media_type="text/plain")
    async def home(request: litestar.Request[Any, Any, Any]) -> str:
        return str(request.session.get("user"))

    @litestar.post("/login")
    async def login(request: litestar.Request[Any, Any, Any]) -> str:
        asgi.session_of(request).rotate()
        request.session["user"] = "bob"
        return "ok"

    return litestar.Litestar([home, login], plugins=[ClusterSessionPlugin(secret=SECRET)])


def of_quart(**config: Any) -> quart.Quart:
    app = quart.Quart("shop")
    app.config.update(SECRET_KEY=SECRET, **config)
    QuartSession(app)

    @app.get("/")
    async def home() -> str:
        return str(quart.session.get("user"))

    @app.post("/login")
    async def login() -> str:
        quart.session.rotate()  # type: ignore[attr-defined]
        quart.session["user"] = "bob"
        return "ok"

    return app


BELOW = {"SERVER_NAME": "shop.example.org", "SESSION_COOKIE_DOMAIN": "example.org"}

BLOCKING: dict[str, Callable[[], Any]] = {
    "flask": lambda: of_flask().test_client(),
    "flask with a name": lambda: of_flask(SERVER_NAME="shop.example:8000").test_client(),
    "flask below the cookie's domain": lambda: of_flask(**BELOW).test_client(),
    "werkzeug": lambda: werkzeug.test.Client(of_wsgi()),
    "werkzeug around flask": lambda: werkzeug.test.Client(of_flask()),
    "webtest": lambda: webtest.TestApp(of_wsgi()),
    "webtest around flask": lambda: webtest.TestApp(of_flask()),
    "starlette": lambda: TestClient(of_starlette(), base_url="https://testserver"),
    "starlette with a name": lambda: TestClient(of_starlette(), base_url="https://shop.example"),
    "litestar": lambda: litestar.testing.TestClient(of_litestar()),
}
AWAITED: dict[str, Callable[[], Any]] = {
    "httpx": lambda: httpx.AsyncClient(
        transport=httpx.ASGITransport(of_starlette()), base_url="https://shop"
    ),
    "litestar": lambda: litestar.testing.AsyncTestClient(of_litestar()),
    "quart": lambda: of_quart().test_client(),
    "quart below the cookie's domain": lambda: of_quart(**BELOW).test_client(),
}


def cookies_of(client: Any) -> int:
    """How many cookies of ours it holds."""
    jar = getattr(client, "cookies", None)
    if jar is None:
        jar = getattr(client, "cookie_jar", None)
    held = client._cookies.values() if jar is None else getattr(jar, "jar", jar)
    return len(list(held))


@pytest.mark.parametrize("kind", BLOCKING)
def test_a_client_is_logged_in_and_takes_the_cookie_of_the_next_login(kind: str) -> None:
    client = BLOCKING[kind]()
    preset = session_for(client, {"user": "ann"}, principal="ann")
    assert preset.value.count(".") == 1
    assert client.get("/").text == "ann"
    client.post("/login")
    assert client.get("/").text == "bob"
    assert cookies_of(client) == 1, "the new cookie took the place of ours"


@pytest.mark.parametrize("kind", AWAITED)
async def test_an_asynchronous_client_is_logged_in(kind: str) -> None:
    client = AWAITED[kind]()
    session_for(client, {"user": "ann"}, principal="ann")

    async def text_of(answer: Any) -> str:
        if isinstance(answer, httpx.Response):
            return answer.text
        text: str = await answer.get_data(as_text=True)
        return text

    assert await text_of(await client.get("/")) == "ann"
    await client.post("/login")
    assert await text_of(await client.get("/")) == "bob"
    assert cookies_of(client) == 1


def test_flask_changes_a_session_in_a_transaction() -> None:
    client = of_flask().test_client()
    preset = session_for(client, {"user": "ann"})
    with client.session_transaction() as session:
        assert session["user"] == "ann"
        session["user"] = "eve"
    assert client.get("/").text == "eve"
    cookie = client.get_cookie(preset.name)
    assert cookie is not None
    assert cookie.value == preset.value, "it is the same session"


@pytest.fixture(params=[django_project.DJANGOS, django_project.OURS], ids=["engine", "middleware"])
def _django(request: pytest.FixtureRequest, transactional: None) -> Any:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(request.session.get("user")))

    configuration.close()
    django_project.view = view
    with django.test.override_settings(
        MIDDLEWARE=[request.param, *django_project.OTHERS],
        CLUSTERSESSION={"distributable": True},
    ):
        yield
    configuration.close()


@pytest.fixture(scope="session")
def transactional() -> None:
    import warnings

    from django.core import management

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        management.call_command("migrate", verbosity=0)


PATH = "/"


@pytest.mark.usefixtures("_django")
def test_django_reads_a_preset_session_as_its_own() -> None:
    client = django.test.Client()
    session_for(client, {"user": "ann"})
    assert client.get(PATH).content == b"ann"
    assert client.session["user"] == "ann"
    session = client.session
    session["user"] = "eve"
    session.save()
    assert client.get(PATH).content == b"eve"


@pytest.mark.usefixtures("_django")
def test_django_makes_a_session_where_there_is_none() -> None:
    client = django.test.Client()
    session = client.session
    session["user"] = "eve"
    session.save()
    assert client.get(PATH).content == b"eve"


@pytest.mark.usefixtures("_django")
def test_django_logs_in_by_force_and_out_by_time() -> None:
    users = get_user_model().objects
    users.all().delete()
    user = users.create_user("ann", password="secret")
    client = django.test.Client()

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(request.user))

    django_project.view = view
    with moved_clock() as clock:
        client.force_login(user)
        assert client.get(PATH).content == b"ann"
        clock.advance(days=13)
        assert client.get(PATH).content == b"ann"
        clock.advance(days=15)
        assert client.get(PATH).content == b"AnonymousUser"


@pytest.mark.usefixtures("_django")
async def test_djangos_asynchronous_client_is_logged_in() -> None:
    client = django.test.AsyncClient()
    session_for(client, {"user": "ann"})
    answer: Awaitable[Any] = client.get(PATH)
    assert (await answer).content == b"ann"


def test_an_application_is_no_client() -> None:
    for app in (of_flask(), of_wsgi(), of_starlette(), of_litestar(), of_quart()):
        assert kind_of(app) is None
    client = of_flask().test_client()
    kind = kind_of(client)
    assert kind is not None
    assert app_of(client, kind) is client.application


def test_the_client_of_aiohttp() -> None:
    async def home(request: web.Request) -> web.Response:
        return web.Response(text=str(aiohttp_session_of(request).get("user")))

    async def login(request: web.Request) -> web.Response:
        aiohttp_session_of(request).rotate()
        aiohttp_session_of(request)["user"] = "bob"
        return web.Response()

    async def visit() -> None:
        app = web.Application()
        app.router.add_get("/", home)
        app.router.add_post("/login", login)
        AiohttpSession(app, secret=SECRET)
        async with AiohttpClient(AiohttpServer(app)) as client:
            preset = session_for(client, {"user": "eve"})
            assert await (await client.get("/")).text() == "eve"
            await client.post("/login")
            assert await (await client.get("/")).text() == "bob"
            cookies = list(client.session.cookie_jar)
            assert [cookie.key for cookie in cookies] == [preset.name], "none beside it"

    asyncio.run(visit())
