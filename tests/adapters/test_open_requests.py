"""Under each adapter a request is open until its last byte, and closed whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import flask
import httpx
import pytest
import quart
from aiohttp import web
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, StreamingHttpResponse
from django.test import override_settings
from litestar import Litestar, Request, get
from litestar.response import Stream
from pyramid.config import Configurator
from pyramid.response import Response
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from tornado.web import Application, RequestHandler
from werkzeug.test import Client

from clustersession import aiohttp, asgi, tornado, wsgi
from clustersession import flask as our_flask
from clustersession import quart as our_quart
from clustersession import sanic as our_sanic
from clustersession.beaker import SessionMiddleware
from clustersession.django import configuration
from clustersession.litestar import ClusterSessionPlugin
from clustersession.pyramid import ClusterSessionFactory
from clustersession.session.session import Session
from clustersession.session.visit import Visit, visit_of
from tests.adapters import django_project
from tests.adapters.django_project import OURS
from tests.adapters.own_servers import (
    aiohttp_server,
    ask,
    in_own_thread,
    text_of,
    tornado_server,
)
from tests.adapters.sanic_server import new_app, served
from tests.support.processes import wait_for

seen: list[Visit] = []
"""The visits of the requests that were made, in the order they came."""


@pytest.fixture(autouse=True)
def _nothing_seen() -> Iterator[None]:
    seen.clear()
    configuration.close()
    yield
    configuration.close()


def look(session: Any) -> Visit:
    found = session if isinstance(session, Session) else session.clustered
    found["n"] = 1
    seen.append(visit_of(found))
    return seen[-1]


def parts(session: Any) -> Iterator[bytes]:
    visit = look(session)
    for _ in range(3):
        yield b"1" if visit.is_open else b"0"


async def async_parts(session: Any) -> AsyncIterator[bytes]:
    for part in parts(session):
        await asyncio.sleep(0)
        yield part


def proxied(session: Any) -> Any:
    return session._get_current_object()


def fetch(app: Any, path: str) -> bytes:
    async def ask() -> bytes:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get(path)).content

    return asyncio.run(ask())


def fetch_wsgi(app: Any, path: str) -> bytes:
    with Client(app).get(path) as response:
        return response.data


def by_starlette(path: str) -> bytes:
    async def stream(request: Any) -> StreamingResponse:
        return StreamingResponse(async_parts(request.session))

    async def fail(request: Any) -> None:
        look(request.session)
        raise ValueError

    app = Starlette(routes=[Route("/stream", stream), Route("/raise", fail)])
    app.add_middleware(asgi.ClusterSessionMiddleware)
    return fetch(app, path)


def by_litestar(path: str) -> bytes:
    @get("/stream")
    async def stream(request: Request[Any, Any, Any]) -> Stream:
        return Stream(async_parts(request.session))

    @get("/raise")
    async def fail(request: Request[Any, Any, Any]) -> None:
        look(request.session)
        raise ValueError

    return fetch(Litestar([stream, fail], plugins=[ClusterSessionPlugin()]), path)


def by_wsgi(path: str) -> bytes:
    def app(environ: Any, start_response: Any) -> Any:
        session = environ["clustersession.session"]
        if environ["PATH_INFO"] == "/raise":
            look(session)
            raise ValueError
        start_response("200 OK", [])
        return parts(session)

    return fetch_wsgi(wsgi.ClusterSessionMiddleware(app), path)


def by_wsgi_that_fails_later(path: str) -> bytes:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield from parts(environ["clustersession.session"])
        if environ["PATH_INFO"] == "/raise":
            raise ValueError

    return fetch_wsgi(wsgi.ClusterSessionMiddleware(app), path)


def by_pyramid(path: str) -> bytes:
    def stream(request: Any) -> Response:
        return Response(app_iter=parts(request.session))

    def fail(request: Any) -> None:
        look(request.session)
        raise ValueError

    with Configurator(session_factory=ClusterSessionFactory()) as config:
        for view in (stream, fail):
            config.add_view(view, name="stream" if view is stream else "raise")
        return fetch_wsgi(config.make_wsgi_app(), path)


def by_beaker(path: str) -> bytes:
    def app(environ: Any, start_response: Any) -> Any:
        session = environ["beaker.session"]
        if environ["PATH_INFO"] == "/raise":
            look(session)
            raise ValueError
        start_response("200 OK", [])
        return parts(session)

    return fetch_wsgi(SessionMiddleware(app), path)


def by_flask(path: str, **config: Any) -> bytes:
    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY="a key of the application", **config)
    our_flask.ClusterSession(app)

    @app.get("/stream")
    def stream() -> flask.Response:
        return flask.Response(parts(proxied(flask.session)))

    @app.get("/raise")
    def fail() -> str:
        look(proxied(flask.session))
        raise ValueError

    return fetch_wsgi(app, path)


def by_flask_that_tests(path: str) -> bytes:
    return by_flask(path, TESTING=True)


def by_quart(path: str, **config: Any) -> bytes:
    app = quart.Quart(__name__)
    app.config.update(SECRET_KEY="a key of the application", **config)
    our_quart.ClusterSession(app)

    @app.get("/stream")
    async def stream() -> quart.Response:
        return quart.Response(async_parts(proxied(quart.session)))

    @app.get("/raise")
    async def fail() -> str:
        look(proxied(quart.session))
        raise ValueError

    return fetch(app, path)


def by_quart_that_tests(path: str) -> bytes:
    return by_quart(path, TESTING=True, PROPAGATE_EXCEPTIONS=True)


def sanic_shop() -> Any:
    app = new_app()
    our_sanic.ClusterSession(app)

    @app.get("/stream")
    async def stream(request: Any) -> None:
        response = await request.respond(content_type="text/plain")
        async for part in async_parts(request.ctx.session):
            await response.send(part)

    @app.get("/raise")
    async def fail(request: Any) -> None:
        look(request.ctx.session)
        raise ValueError

    return app


def by_sanic(path: str) -> bytes:
    with served(sanic_shop()) as server:
        return httpx.get(f"http://127.0.0.1:{server.port}{path}", timeout=20).content


def by_sanic_under_asgi(path: str) -> bytes:
    with TestClient(sanic_shop(), raise_server_exceptions=False) as client:
        return client.get(path).content


def _django_view(request: HttpRequest) -> Any:
    if request.GET:
        look(request.session)
        raise SystemError
    body: Any = async_parts if request.path == "/a" else parts
    return StreamingHttpResponse(body(request.session))


def by_django(path: str) -> bytes:
    django_project.view = _django_view
    with override_settings(MIDDLEWARE=[OURS]):
        return fetch_wsgi(WSGIHandler(), "/" if path == "/stream" else "/?raise")


def by_django_under_asgi(path: str) -> bytes:
    django_project.view = _django_view
    with override_settings(MIDDLEWARE=[OURS]):
        return fetch(ASGIHandler(), "/a" if path == "/stream" else "/a?raise")


def by_aiohttp(path: str) -> bytes:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        session = aiohttp.session_of(request)
        async for part in async_parts(session):
            if not response.prepared:
                await response.prepare(request)
            await response.write(part)
        return response

    return of_aiohttp(stream, path)


def by_aiohttp_that_generates(path: str) -> bytes:
    async def stream(request: web.Request) -> web.Response:
        return web.Response(body=async_parts(aiohttp.session_of(request)))

    return of_aiohttp(stream, path)


def of_aiohttp(stream: Any, path: str) -> bytes:
    async def fail(request: web.Request) -> web.Response:
        look(aiohttp.session_of(request))
        raise ValueError

    app = web.Application()
    app.add_routes([web.get("/stream", stream), web.get("/raise", fail)])
    aiohttp.ClusterSession(app)
    with in_own_thread(partial(aiohttp_server, app)) as port:
        return text_of(ask(port, path)).encode()


def by_tornado(path: str) -> bytes:
    class Stream(tornado.ClusterSessionMixin, RequestHandler):
        async def get(self) -> None:
            async for part in async_parts(self.session):
                self.write(part)
                await self.flush()

    class Fail(tornado.ClusterSessionMixin, RequestHandler):
        def get(self) -> None:
            look(self.session)
            raise ValueError

    app = Application([("/stream", Stream), ("/raise", Fail)])
    tornado.ClusterSession(app)
    with in_own_thread(partial(tornado_server, app)) as port:
        body = text_of(ask(port, path)).encode()
        # The handler returns after the last byte.
        wait_for(lambda: not seen[-1].is_open, "the request to be over")
    return body


# Each makes a request to "/stream" or "/raise"; a part of the body says whether it was open then.
SERVED = [
    by_starlette, by_litestar, by_wsgi, by_wsgi_that_fails_later, by_pyramid, by_beaker,
    by_flask, by_flask_that_tests, by_quart, by_quart_that_tests, by_django, by_django_under_asgi,
    by_aiohttp, by_aiohttp_that_generates, by_tornado, by_sanic, by_sanic_under_asgi,
]  # fmt: skip


@pytest.mark.parametrize("served", SERVED)
def test_a_stream_keeps_its_request_open_to_its_end(served: Callable[[str], bytes]) -> None:
    assert served("/stream") == b"111"
    assert len(seen) == 1
    assert not seen[0].is_open


@pytest.mark.parametrize("served", SERVED)
def test_an_application_that_raises_leaves_nothing_open(served: Callable[[str], bytes]) -> None:
    with suppress(ValueError, SystemError):
        served("/raise")
    assert len(seen) == 1
    assert not seen[0].is_open


def test_a_websocket_and_a_background_task_keep_theirs_open() -> None:
    found: list[bool] = []

    async def socket(websocket: Any) -> None:
        await websocket.accept()
        look(websocket.session)
        async for _ in websocket.iter_text():
            await websocket.send_text(str(seen[0].is_open))

    async def page(request: Any) -> StreamingResponse:
        task = BackgroundTask(lambda: found.append(seen[-1].is_open))
        return StreamingResponse(async_parts(request.session), background=task)

    app = Starlette(routes=[WebSocketRoute("/socket", socket), Route("/page", page)])
    app.add_middleware(asgi.ClusterSessionMiddleware)
    client = TestClient(app)
    with client.websocket_connect("/socket") as websocket:
        websocket.send_text("?")
        assert websocket.receive_text() == "True"
    client.get("/page")
    assert found == [True]
    assert not any(visit.is_open for visit in seen)


async def test_a_websocket_of_quart_is_open_to_its_end() -> None:
    app = quart.Quart(__name__)
    app.config["SECRET_KEY"] = "a key of the application"
    our_quart.ClusterSession(app)

    @app.websocket("/socket")
    async def socket() -> None:
        visit = look(proxied(quart.session))
        while True:
            await quart.websocket.receive()
            await quart.websocket.send(str(visit.is_open))

    async with app.test_client().websocket("/socket") as websocket:
        await websocket.send("?")
        assert await websocket.receive() == "True"
    assert not seen[0].is_open


def test_a_body_that_is_read_to_its_end_and_never_closed_is_over() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return parts(environ["clustersession.session"])

    response: Any = wsgi.ClusterSessionMiddleware(app)(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None
    )
    assert list(response) == [b"1"] * 3
    assert not seen[0].is_open


@pytest.mark.parametrize("every", [True, False])
def test_under_django_the_end_is_an_access_where_reading_is_one(every: bool) -> None:
    with override_settings(SESSION_SAVE_EVERY_REQUEST=every, MIDDLEWARE=[OURS]):
        handler, commits = WSGIHandler(), []
        client = Client(handler)
        django_project.view = lambda request: request.session.update({"a": 1})
        client.get("/")
        manager = configuration.manager()
        clock = [manager.now_ms()]
        manager.context.now_ms = manager.now_ms = lambda: clock[0]

        def later() -> Iterator[bytes]:
            commits.append(manager.counters.commits)
            manager.open_visits.record_accesses()
            clock[0] += 3_600_000
            yield b"x"

        django_project.view = lambda request: StreamingHttpResponse(later())
        with client.get("/") as response:
            assert response.data == b"x"
        assert manager.counters.commits - commits[0] == every
