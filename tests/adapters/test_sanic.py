"""Sanic applications: under Sanic's own server, under ASGI, and with our middleware around them."""

import asyncio
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sanic import HTTPResponse, Request, Sanic
from sanic import json as json_response
from sanic.exceptions import NotFound
from sanic.response import redirect
from starlette.testclient import TestClient
from websockets.sync.client import connect

from clustersession.asgi import ClusterSessionMiddleware
from clustersession.core.errors import ConfigurationError
from clustersession.sanic import ClusterSession, session_of
from clustersession.session.events import Events
from clustersession.worker.runtime import Runtime
from tests.adapters.asgi_served import ServedByAsgi
from tests.adapters.contract import COOKIE_NAME, AdapterContract, Answer, Served, View
from tests.adapters.sanic_server import new_app, served
from tests.support.processes import wait_for

AnyRequest = Request[Any, Any]


def app_with(
    views: Mapping[str, View], listeners: Events | None = None
) -> tuple[Sanic[Any, Any], ClusterSession]:
    app = new_app()
    extension = ClusterSession(app, listeners=listeners)

    def handler(view: View) -> Any:
        async def handle(request: AnyRequest) -> HTTPResponse:
            return json_response(view(request.ctx.session))

        return handle

    for name, view in views.items():
        app.add_route(handler(view), f"/{name}", name=name)
    return app, extension


def get(port: int, path: str, cookie: str | None = None, method: str = "GET") -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        headers = {"Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else {}
        connection.request(method, path, headers={"Connection": "close", **headers})
        response = connection.getresponse()
        text = response.read()
        return Answer(
            response.status, json.loads(text) if text[:1] in b'{["n0123456789' and text else text,
            tuple(response.headers.get_all("Set-Cookie") or ()),
            ", ".join(response.headers.get_all("Vary") or ()),
        )
    finally:
        connection.close()


class ServedBySanic(Served):
    def __init__(self, port: int, extension: ClusterSession) -> None:
        self._port = port
        self._extension = extension

    def get(self, view: str, cookie: str | None = None) -> Answer:
        return get(self._port, f"/{view}", cookie)

    def runtime(self) -> Runtime:
        return self._extension.runtime


class SanicContract(AdapterContract):
    def log_out(self, session: Any) -> None:
        session.clear()


class TestContract(SanicContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        app, extension = app_with(views, listeners)
        with served(app) as server:
            yield ServedBySanic(server.port, extension)


class TestContractUnderAsgi(SanicContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        app, extension = app_with(views, listeners)
        with TestClient(app):
            yield ServedByAsgi(app, extension.runtime)


class TestContractInsideTheMiddleware(SanicContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        app, _ = app_with(views, listeners)
        middleware = ClusterSessionMiddleware(app)
        with TestClient(middleware):
            yield ServedByAsgi(middleware, middleware.runtime)


def shop(**options: Any) -> tuple[Sanic[Any, Any], ClusterSession]:
    """An application that does everything at which an adapter may fail."""
    app = new_app()
    extension = ClusterSession(app, **options)

    @app.get("/read")
    async def read(request: AnyRequest) -> HTTPResponse:
        return json_response(dict(request.ctx.session))

    @app.get("/set")
    async def set_value(request: AnyRequest) -> HTTPResponse:
        request.ctx.session["cart"] = [1]
        return json_response({})

    @app.get("/sync")
    def in_a_plain_function(request: AnyRequest) -> HTTPResponse:
        session_of(request)["sync"] = 1
        return json_response({})

    @app.get("/bad")
    async def bad(request: AnyRequest) -> HTTPResponse:
        request.ctx.session["thing"] = object()
        return json_response({})

    @app.get("/fails")
    async def fails(request: AnyRequest) -> HTTPResponse:
        request.ctx.session["failed"] = 1
        raise ZeroDivisionError

    @app.get("/absent")
    async def absent(request: AnyRequest) -> HTTPResponse:
        request.ctx.session["absent"] = 1
        raise NotFound("not here")

    @app.get("/moved")
    async def moved(request: AnyRequest) -> HTTPResponse:
        request.ctx.session["moved"] = 1
        return redirect("/read")

    @app.get("/stream")
    async def stream(request: AnyRequest) -> None:
        request.ctx.session["begun"] = 1
        response = await request.respond(content_type="text/plain")
        await response.send("x")
        request.ctx.session["streamed"] = 1
        await response.send("y")

    @app.get("/breaks")
    async def breaks(request: AnyRequest) -> None:
        request.ctx.session["begun"] = 2
        response = await request.respond(content_type="text/plain")
        await response.send("x")
        request.ctx.session["broken"] = 1
        raise ZeroDivisionError

    @app.get("/replaced")
    async def replaced(request: AnyRequest) -> HTTPResponse:
        request.ctx.session = {"user": "ann"}
        return json_response({})

    @app.websocket("/talk")
    async def talk(request: AnyRequest, socket: Any) -> None:
        while (text := await socket.recv()) not in (None, "bye"):
            request.ctx.session.setdefault("heard", []).append(text)
            if text == "save":
                await session_of(request).asave()
            if text == "fail":
                raise ZeroDivisionError
            await socket.send(f"heard {text}")

    return app, extension


Fetch = Callable[..., Answer]


@contextmanager
def own_server(app: Sanic[Any, Any]) -> Iterator[Fetch]:
    with served(app) as server:
        yield lambda path, cookie=None, method="GET": get(server.port, path, cookie, method)


@contextmanager
def asgi(app: Any) -> Iterator[Fetch]:
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        def fetch(path: str, cookie: str | None = None, method: str = "GET") -> Answer:
            client.cookies.clear()
            headers = {"Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else {}
            reply = client.request(method, path, headers=headers)
            kind = reply.headers.get("content-type", "")
            return Answer(
                reply.status_code, reply.json() if "json" in kind else reply.content,
                tuple(reply.headers.get_list("Set-Cookie")), reply.headers.get("Vary", ""),
            )

        yield fetch


@contextmanager
def inside_the_middleware(app: Any) -> Iterator[Fetch]:
    with asgi(ClusterSessionMiddleware(app)) as fetch:
        yield fetch


everywhere = pytest.mark.parametrize("serve", [own_server, asgi, inside_the_middleware])
by_ourselves = pytest.mark.parametrize("serve", [own_server, asgi])


def stored(fetch: Fetch, cookie: str | None) -> Any:
    return fetch("/read", cookie).data


@everywhere
def test_every_kind_of_answer_carries_the_session(serve: Any) -> None:
    with serve(shop()[0]) as fetch:
        cookie = fetch("/set").cookie
        assert stored(fetch, cookie) == {"cart": [1]}
        assert fetch("/sync", cookie).set_cookies == ()
        assert fetch("/moved", cookie).status == 302
        assert fetch("/absent", cookie).status == 404
        assert fetch("/stream", cookie).data == b"xy"
        assert stored(fetch, cookie) == {
            "cart": [1], "sync": 1, "moved": 1, "absent": 1, "begun": 1, "streamed": 1,
        }
        for path in ("/moved", "/absent", "/stream"):
            answer = fetch(path)
            assert answer.cookie, path
            assert "cookie" in answer.vary.lower(), path


@everywhere
def test_a_failure_stores_nothing(serve: Any) -> None:
    with serve(shop()[0]) as fetch:
        cookie = fetch("/set").cookie
        for path in ("/fails", "/bad", "/replaced"):
            answer = fetch(path, cookie)
            assert (answer.status, answer.set_cookies) == (500, ()), path
            assert stored(fetch, cookie) == {"cart": [1]}, path


@by_ourselves
def test_a_stream_that_breaks_keeps_what_was_committed_before(serve: Any) -> None:
    with serve(shop()[0]) as fetch:
        cookie = fetch("/set").cookie
        try:
            fetch("/breaks", cookie)
        except http.client.IncompleteRead:
            pass
        assert stored(fetch, cookie) == {"cart": [1], "begun": 2}


@by_ourselves
def test_no_other_response_middleware_hides_the_session(serve: Any) -> None:
    app, _ = shop()

    @app.on_response
    async def replace(request: AnyRequest, response: HTTPResponse) -> HTTPResponse:
        request.ctx.session["late"] = 1
        return json_response({"replaced": True})

    @app.on_request
    async def early(request: AnyRequest) -> None:
        request.ctx.session["early"] = 1

    with serve(app) as fetch:
        answer = fetch("/read")
        assert answer.data == {"replaced": True}
        assert answer.cookie
        seen: list[Any] = []

        @app.exception(ZeroDivisionError)
        async def look(request: AnyRequest, error: Exception) -> HTTPResponse:
            seen.append(dict(request.ctx.session))
            return json_response({}, 400)

        assert fetch("/fails", answer.cookie).status == 200
        assert seen == [{"early": 1, "failed": 1, "late": 1}]


@everywhere
def test_an_excluded_path_has_no_session(serve: Any) -> None:
    options = {"exclude": ["/set"]}
    app, _ = shop(**options)
    target: Any = own_server(app) if serve is own_server else asgi(
        app if serve is asgi else ClusterSessionMiddleware(app, **options)
    )
    with target as fetch:
        assert fetch("/set").set_cookies == ()


def test_a_websocket_has_the_session_of_its_client() -> None:
    app, _ = shop()
    with served(app) as server:
        cookie = get(server.port, "/set").cookie
        assert cookie

        def heard() -> Any:
            return get(server.port, "/read", cookie).data.get("heard")

        address = f"ws://127.0.0.1:{server.port}/talk"
        headers = {"Cookie": f"{COOKIE_NAME}={cookie}"}
        with connect(address, additional_headers=headers) as socket:
            socket.send("one")
            assert socket.recv(10) == "heard one"
            assert heard() is None
            socket.send("save")
            assert socket.recv(10) == "heard save"
            assert heard() == ["one", "save"]
            socket.send("two")
            assert socket.recv(10) == "heard two"
            socket.send("bye")
        wait_for(lambda: heard() == ["one", "save", "two"], "the end of the handler")
        with connect(address, additional_headers=headers) as socket:
            socket.send("gone")
            assert socket.recv(10) == "heard gone"
            socket.socket.close()
        wait_for(lambda: heard()[-1] == "gone", "the handler whose client went away")
        with connect(address, additional_headers=headers) as socket:
            socket.send("fail")
            with pytest.raises(Exception, match="received 1"):
                socket.recv(10)
        assert heard()[-1] == "gone"


def test_a_client_that_goes_away_loses_nothing() -> None:
    app, _ = shop()
    running = asyncio.Event()

    @app.get("/slow")
    async def slow(request: AnyRequest) -> None:
        response = await request.respond(content_type="text/plain")
        request.ctx.session["until"] = "here"
        await response.send("x")
        running.set()
        await asyncio.sleep(30)

    with served(app) as server:
        cookie = get(server.port, "/set").cookie
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/slow", headers={"Cookie": f"{COOKIE_NAME}={cookie}"})
        assert connection.getresponse().status == 200
        wait_for(running.is_set, "the handler")
        connection.sock.close() if connection.sock else connection.close()
        del connection
        wait_for(
            lambda: get(server.port, "/read", cookie).data.get("until") == "here",
            "what the handler had stored",
        )


@by_ourselves
def test_the_node_is_open_while_the_server_runs(serve: Any, state: Path) -> None:
    app, extension = shop()
    assert not list(state.rglob("replica"))
    with serve(app):
        assert list(state.rglob("replica"))
        assert app.ctx.clustersession is extension
    assert extension.runtime._process is None


async def test_a_node_that_cannot_work_keeps_its_server_from_starting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    app, _ = shop(state_dir=str(tmp_path / "file" / "state"))
    kinds, sent = ["startup", "shutdown"], list[Any]()

    async def receive() -> Any:
        return {"type": f"lifespan.{kinds.pop(0)}"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "set state_dir" in sent[0]["message"]


@by_ourselves
def test_a_response_that_is_given_up_for_another_leaves_its_cookie_to_that(serve: Any) -> None:
    app, _ = shop()

    @app.get("/give-up/<error:int>")
    async def give_up(request: AnyRequest, error: int) -> None:
        request.ctx.session.rotate()
        await request.respond(content_type="text/plain")
        raise NotFound("after all") if error == 404 else RuntimeError("after all")

    with serve(app) as ask:
        for error in (404, 500):
            before = ask("/set").cookie
            answer = ask(f"/give-up/{error}", before)
            assert answer.status == error
            assert len(answer.set_cookies) == 1
            assert ask("/read", answer.cookie).data == ask("/read", ask("/set").cookie).data


def test_what_cannot_work_is_refused_early() -> None:
    ClusterSession(app := new_app())
    with pytest.raises(ConfigurationError, match="already"):
        ClusterSession(app, cookie_name="OTHER")
    with pytest.raises(ConfigurationError, match="url_parameter"):
        ClusterSession(url_parameter="jsessionid")
    with pytest.raises(ConfigurationError, match="distributable"):
        ClusterSession(new_app(), distributible=True)


def test_without_the_extension_session_of_says_what_to_add() -> None:
    app = new_app()

    @app.get("/")
    async def page(request: AnyRequest) -> HTTPResponse:
        with pytest.raises(RuntimeError, match="ClusterSession"):
            session_of(request)
        return json_response({})

    with asgi(app) as fetch:
        assert fetch("/").status == 200
