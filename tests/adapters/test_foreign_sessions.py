"""A session middleware of somebody else inside ours: ours is kept, theirs is theirs."""

import json
from typing import Any
from urllib.parse import quote, unquote

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient

from clustersession.asgi import ClusterSessionMiddleware


class PlainSessions:
    """Keeps a plain dict in a cookie, as Starlette's middleware once did."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        cookie = HTTPConnection(scope).cookies.get("theirs", "")
        scope["session"] = json.loads(unquote(cookie) or "{}")

        async def send_with_cookie(message: Any) -> None:
            if message["type"] == "http.response.start" and scope["session"]:
                value = f"theirs={quote(json.dumps(scope['session']))}; Path=/"
                message["headers"].append((b"set-cookie", value.encode()))
            await send(message)

        return await self.app(scope, receive, send_with_cookie)


async def look(request: Any) -> JSONResponse:
    return JSONResponse(dict(request.session))


async def write(request: Any) -> JSONResponse:
    request.session.update(request.query_params)
    return await look(request)


async def untouched(request: Any) -> JSONResponse:
    return JSONResponse({})


async def replace(request: Any) -> JSONResponse:
    request.scope["session"] = {"replaced": "yes"}
    return JSONResponse({})


async def socket(connection: Any) -> None:
    await connection.accept()
    connection.session["said"] = await connection.receive_text()
    await connection.close()


async def pass_on(request: Any, call_next: Any) -> Any:
    return await call_next(request)


ROUTES: list[Any] = [
    Route("/look", look), Route("/write", write), Route("/untouched", untouched),
    Route("/replace", replace), WebSocketRoute("/socket", socket),
]  # fmt: skip
OURS = Middleware(ClusterSessionMiddleware)
THEIRS = [Middleware(SessionMiddleware, secret_key="theirs"), Middleware(PlainSessions)]
BETWEEN = Middleware(BaseHTTPMiddleware, dispatch=pass_on)


def mounted(theirs: Middleware) -> Any:
    admin = Starlette(routes=ROUTES, middleware=[theirs])
    return Starlette(routes=[Mount("/admin", admin), *ROUTES], middleware=[OURS, BETWEEN])


def deep(theirs: Middleware) -> Any:
    admin = Starlette(routes=ROUTES, middleware=[BETWEEN, theirs, BETWEEN])
    inner = Starlette(routes=[Mount("/", admin)], middleware=[OURS])
    return Starlette(routes=[Mount("/admin", inner), *ROUTES], middleware=[OURS])


def in_fastapi(theirs: Middleware) -> Any:
    admin, app = FastAPI(routes=ROUTES), FastAPI(routes=ROUTES)
    admin.add_middleware(theirs.cls, **theirs.kwargs)
    app.mount("/admin", admin)
    app.add_middleware(ClusterSessionMiddleware)
    return app


@pytest.mark.parametrize("theirs", THEIRS, ids=["starlette", "plain"])
@pytest.mark.parametrize("make", [mounted, deep, in_fastapi])
def test_a_mounted_application_keeps_its_session_and_we_keep_ours(
    make: Any, theirs: Middleware, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(make(theirs)) as client:
        client.get("/write?user=ann")
        ours = client.cookies["CLUSTERSESSION"]
        for path in ("untouched", "look"):
            assert client.get(f"/admin/{path}").json() == {}
            assert client.get("/look").json() == {"user": "ann"}
        client.get("/admin/write?admin=root")
        assert client.get("/admin/look").json() == {"admin": "root"}
        with client.websocket_connect("/admin/socket") as connection:
            connection.send_text("hello")
        assert client.get("/look").json() == {"user": "ann"}
        assert client.cookies["CLUSTERSESSION"] == ours
    said = [r for r in caplog.records if "remove the inner middleware" in r.getMessage()]
    assert len({r.getMessage() for r in said}) == 1


@pytest.mark.parametrize("theirs", THEIRS, ids=["starlette", "plain"])
def test_a_forgotten_session_middleware_takes_nothing_and_is_named(
    theirs: Middleware, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(Starlette(routes=ROUTES, middleware=[OURS])) as client:
        client.get("/write?user=ann")
        cookies = client.cookies
    app = Starlette(routes=ROUTES, middleware=[OURS, theirs])
    with TestClient(app, cookies=dict(cookies)) as client:
        assert client.get("/look").json() == {}
        assert client.get("/write?n=1").json() == {"n": "1"}
        assert client.get("/look").json() == {"n": "1"}
    assert theirs.cls.__module__ in caplog.text
    with TestClient(Starlette(routes=ROUTES, middleware=[OURS]), cookies=dict(cookies)) as client:
        assert client.get("/look").json() == {"user": "ann"}


def test_what_the_application_assigns_is_taken_over_beside_a_mounted_middleware() -> None:
    with TestClient(mounted(THEIRS[0])) as client:
        client.get("/write?user=ann")
        client.get("/admin/look")
        client.get("/replace")
        assert client.get("/look").json() == {"replaced": "yes"}
