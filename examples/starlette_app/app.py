"""A guest book on Starlette that survives the death of a node, with a websocket that stays open.

    pip install "clustersession[asgi]" uvicorn websockets
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 uvicorn app:app --port 8001
    CLUSTERSESSION_ROUTE=tomcat2 uvicorn app:app --port 8002

These are two nodes on one machine; without DISTRIBUTABLE, as on a laptop and in CI, it is a store
of this host. On hosts of their own leave BIND away and give all of them the same
CLUSTERSESSION_SECRET.
"""

import os
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from clustersession.asgi import ClusterSessionMiddleware, session_of

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")


def answer(**more: object) -> JSONResponse:
    return JSONResponse({"node": NODE, "pid": os.getpid(), **more})


async def who_am_i(request: Request) -> JSONResponse:
    return answer()


async def show(request: Request) -> JSONResponse:
    return answer(data=dict(session_of(request)))


async def append(request: Request) -> JSONResponse:
    fields: dict[str, Any] = await request.json()
    session_of(request).setdefault(fields["key"], []).append(fields["value"])
    return await show(request)


async def log_in(request: Request) -> JSONResponse:
    fields: dict[str, Any] = await request.json()
    session = session_of(request)
    session.rotate()  # a new id at login, so that an id planted before it is worth nothing
    session["user"] = session.principal = str(fields["user"])
    return await show(request)


async def log_out(request: Request) -> JSONResponse:
    session_of(request).invalidate()  # ended on every node, for good
    return answer()


async def talk(socket: WebSocket) -> None:
    """Keeps what is said; sees what other requests write, and closes after the logout."""
    await socket.accept()
    session = session_of(socket)
    async for text in socket.iter_text():
        if not await session.areload():
            await socket.close(4401, "you have logged out")
            return
        session.setdefault("said", []).append(text)
        await session.asave()
        await socket.send_json({"node": NODE, "data": dict(session)})


app = Starlette(
    routes=[
        Route("/api/whoami", who_am_i),
        Route("/api/session", show),
        Route("/api/append", append, methods=["POST"]),
        Route("/api/login", log_in, methods=["POST"]),
        Route("/api/logout", log_out, methods=["POST"]),
        WebSocketRoute("/talk", talk),
    ],
    middleware=[Middleware(ClusterSessionMiddleware)],  # the one line
)
