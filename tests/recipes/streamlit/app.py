"""Streamlit behind a login of the application around it."""

from pathlib import Path
from urllib.parse import parse_qs

import streamlit
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from clustersession.asgi import ClusterSessionMiddleware, session_of

HEADER = b"x-session-user"


class TellUser:
    """Tells Streamlit by a header who the user is; what a client says in it counts for nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            headers = [(name, value) for name, value in scope["headers"] if name != HEADER]
            if user := session_of(HTTPConnection(scope)).get("user"):
                headers.append((HEADER, user.encode()))
            scope = {**scope, "headers": headers}
        await self.app(scope, receive, send)


async def log_in(request: Request) -> Response:
    (name,) = parse_qs((await request.body()).decode())["name"]
    session = session_of(request)
    session.rotate()
    session["user"] = session.principal = name
    return JSONResponse(name)


async def log_out(request: Request) -> Response:
    session_of(request).invalidate()
    return JSONResponse("out")


ui = streamlit.App(Path(__file__).with_name("page.py"))
app = Starlette(
    routes=[
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
        Mount("/", ui),
    ],
    middleware=[Middleware(ClusterSessionMiddleware), Middleware(TellUser)],
    lifespan=ui.lifespan(),
)
