"""The path of health checks, in every adapter: what it answers, when, and to whom."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from flask import Flask
from pyramid.config import Configurator
from pyramid.response import Response
from quart import Quart
from sanic import HTTPResponse
from sanic import text as text_response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient as StarletteClient
from tornado.web import Application, RequestHandler
from werkzeug.test import Client as WerkzeugClient

from clustersession import aiohttp, asgi, flask, quart, sanic, tornado, wsgi
from clustersession.beaker import SessionMiddleware
from clustersession.core.errors import ReplicaUnusable
from clustersession.operations.nodes import ask_agent
from clustersession.pyramid import ClusterSessionFactory
from clustersession.replica.home import NodeHome
from clustersession.wire.local import Operation
from clustersession.worker.runtime import Runtime
from tests.adapters.own_servers import (
    aiohttp_server,
    ask,
    in_own_thread,
    text_of,
    tornado_server,
)
from tests.adapters.sanic_server import new_app, served
from tests.support.processes import free_port, wait_for

Get = Callable[..., tuple[int, str]]
CLUSTER = {
    "distributable": True, "agent": "thread", "bind": "127.0.0.1", "multicast_address": "",
    "join_timeout_s": 1.0,
}


@contextmanager
def under_asgi(**options: Any) -> Iterator[Get]:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"the application, {len(request.session)} attributes")

    app = Starlette(routes=[Route("/{rest:path}", page, methods=["GET", "POST"])])
    middleware = asgi.ClusterSessionMiddleware(app, **options)
    with StarletteClient(middleware) as client:
        def get(path: str, method: str = "GET") -> tuple[int, str]:
            reply = client.request(method, path)
            return reply.status_code, reply.text.strip()

        yield get


@contextmanager
def under_wsgi(**options: Any) -> Iterator[Get]:
    def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"the application, {len(environ['clustersession.session'])} attributes".encode()]

    middleware = wsgi.ClusterSessionMiddleware(page, **options)
    yield _werkzeug(middleware)
    middleware.runtime.close()


@contextmanager
def under_flask(**options: Any) -> Iterator[Get]:
    app = Flask(__name__)
    app.secret_key = "a key of the application"
    extension = flask.ClusterSession(app, **options)

    @app.before_request
    def nobody_gets_past() -> None:
        raise PermissionError("log in first")

    @app.errorhandler(PermissionError)
    def refuse(error: Exception) -> tuple[str, int]:
        return "the application, log in first", 200

    yield _werkzeug(app)
    assert app.extensions["clustersession"] is extension
    app.session_interface.runtime(app).close()


@contextmanager
def under_quart(**options: Any) -> Iterator[Get]:
    app = Quart(__name__)
    app.secret_key = "a key of the application"
    quart.ClusterSession(app, **options)

    @app.before_request
    async def nobody_gets_past() -> None:
        raise PermissionError("log in first")

    @app.errorhandler(PermissionError)
    async def refuse(error: Exception) -> tuple[str, int]:
        return "the application, log in first", 200

    async def ask(path: str, method: str) -> tuple[int, str]:
        reply = await app.test_client().open(path, method=method)
        return reply.status_code, (await reply.get_data(as_text=True)).strip()

    with asyncio.Runner() as runner:
        yield lambda path, method="GET": runner.run(ask(path, method))
        app.session_interface.runtime(app).close()  # type: ignore[attr-defined]
        runner.run(asyncio.sleep(0))


@contextmanager
def under_aiohttp(**options: Any) -> Iterator[Get]:
    async def nobody_gets_past(request: web.Request) -> web.Response:
        return web.Response(text="the application, log in first")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", nobody_gets_past)
    aiohttp.ClusterSession(app, **options)
    with in_own_thread(partial(aiohttp_server, app)) as port:
        yield partial(_over_http, port)


@contextmanager
def under_tornado(**options: Any) -> Iterator[Get]:
    class Page(tornado.ClusterSessionMixin, RequestHandler):
        def get(self, rest: str) -> None:
            self.write("the application, log in first")

    app = Application([("/(.*)", Page)])
    tornado.ClusterSession(app, **options)
    with in_own_thread(partial(tornado_server, app)) as port:
        yield partial(_over_http, port)


def _over_http(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    reply = ask(port, path, method=method)
    return reply.status, text_of(reply).strip()


@contextmanager
def under_sanic(**options: Any) -> Iterator[Get]:
    app = new_app()
    sanic.ClusterSession(app, **options)

    async def nobody_gets_past(request: Any) -> HTTPResponse:
        return text_response("the application, log in first")

    app.register_middleware(nobody_gets_past, "request")
    app.add_route(nobody_gets_past, "/page")

    with served(app) as server:
        def get(path: str, method: str = "GET") -> tuple[int, str]:
            reply = httpx.request(method, f"http://127.0.0.1:{server.port}{path}", timeout=20)
            return reply.status_code, reply.text.strip()

        yield get


@contextmanager
def under_django(**options: Any) -> Iterator[Get]:
    # It configures Django for the whole process; only where it is asked for.
    from django.http import HttpResponse
    from django.test import Client, override_settings

    from clustersession import django as ours
    from tests.adapters import django_project

    def page(request: Any) -> HttpResponse:
        return HttpResponse(f"the application, {len(request.session.keys())} attributes")

    with override_settings(
        MIDDLEWARE=[django_project.OURS], CLUSTERSESSION=options,
        ROOT_URLCONF="tests.adapters.django_project",
    ), pytest.MonkeyPatch.context() as patched:
        patched.setattr(django_project, "view", page)
        client = Client()

        def get(path: str, method: str = "GET") -> tuple[int, str]:
            reply = client.generic(method, path)
            # Django's answer to a path that is not the project's.
            text = "the application" if reply.status_code == 404 else reply.content.decode().strip()
            return reply.status_code, text

        yield get
        ours.configuration.close()


@contextmanager
def under_pyramid(**options: Any) -> Iterator[Get]:
    def page(request: Any) -> Response:
        return Response(f"the application, {len(request.session)} attributes")

    factory = ClusterSessionFactory(**options)
    with Configurator() as config:
        config.include(factory.add_to)
        config.add_route("all", "/*rest")
        config.add_view(page, route_name="all")
        yield _werkzeug(config.make_wsgi_app())
    factory.runtime.close()


@contextmanager
def under_beaker(**options: Any) -> Iterator[Get]:
    def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        found = environ["beaker.session"].get("a")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"the application, {found}".encode()]

    middleware = SessionMiddleware(page, **options)
    yield _werkzeug(middleware)
    middleware.runtime.close()


def _werkzeug(app: Any) -> Get:
    client = WerkzeugClient(app)

    def get(path: str, method: str = "GET") -> tuple[int, str]:
        reply = client.open(path, method=method)
        return reply.status_code, reply.text.strip()

    return get


ADAPTERS = [
    under_asgi, under_wsgi, under_flask, under_quart, under_django, under_pyramid, under_beaker,
    under_aiohttp, under_tornado, under_sanic,
]
each_adapter = pytest.mark.parametrize("serve", ADAPTERS, ids=lambda serve: serve.__name__)


@each_adapter
def test_without_the_setting_every_path_is_the_applications(serve: Any) -> None:
    with serve() as get:
        assert get("/ready")[1].startswith("the application")


@each_adapter
def test_one_path_is_answered_and_no_other(serve: Any) -> None:
    with serve(ready_path="/ready") as get:
        assert get("/ready") == (200, "ready")
        assert get("/ready?now") == (200, "ready")
        assert get("/ready", "HEAD") == (200, "")
        for other in ("/", "/ready/", "/readyness", "/a/ready"):
            assert get(other)[1].startswith("the application"), other


@each_adapter
def test_a_node_joins_by_the_check_and_says_when_it_drains(serve: Any, state: Path) -> None:
    with serve(ready_path="/ready", port=free_port(), **CLUSTER) as get:
        def is_ready() -> bool:
            status, text = get("/ready")
            assert (status == 200) == (text == "ready"), text
            return status == 200

        wait_for(is_ready, "the node to be ready")
        (home,) = [NodeHome(path.parent) for path in state.rglob("agent.sock")]
        ask_agent(home, Operation.DRAIN)
        wait_for(lambda: not is_ready(), "the node to drain")
        assert get("/ready") == (503, "draining: users are to go to other nodes")


@each_adapter
def test_without_its_agent_a_node_is_not_ready(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clustersession.worker.agent_client.PHASE_TIMEOUT_S", 0.05)
    options = {**CLUSTER, "agent": "external"}
    with serve(ready_path="/ready", **options) as get:
        assert get("/ready") == (503, "no agent: writes do not reach the other nodes")


@pytest.mark.parametrize(
    "serve", [under_wsgi, under_flask, under_django, under_pyramid, under_beaker]
)
def test_a_node_that_cannot_serve_tells_its_log_why_once(
    serve: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(ready_path="/ready") as get, monkeypatch.context() as broken:
        def fail(self: Runtime) -> None:
            raise ReplicaUnusable(f"/var/lib/secret-place/{serve.__name__} cannot be opened")

        broken.setattr(Runtime, "agent_client", fail)
        with caplog.at_level(logging.ERROR, "clustersession"):
            for _ in range(3):
                status, text = get("/ready")
                assert status == 503
                assert "secret-place" not in text
        assert [r.message for r in caplog.records] == [
            "this node cannot serve sessions: "
            f"/var/lib/secret-place/{serve.__name__} cannot be opened"
        ]


def test_a_mounted_application_is_asked_by_the_whole_path() -> None:
    def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"the application"]

    middleware = wsgi.ClusterSessionMiddleware(page, ready_path="/shop/ready")
    client = WerkzeugClient(middleware)
    assert client.get("/ready", base_url="http://localhost/shop").text == "ready\n"
    assert client.get("/ready").text == "the application"
    middleware.runtime.close()
