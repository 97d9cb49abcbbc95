"""A shop on aiohttp whose sessions survive the death of a node.

    pip install "clustersession[aiohttp]"
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 python -m aiohttp.web -H 127.0.0.1 -P 8001 app:make_app
    CLUSTERSESSION_ROUTE=tomcat2 python -m aiohttp.web -H 127.0.0.1 -P 8002 app:make_app

These are two nodes on one machine; without DISTRIBUTABLE, as on a laptop and in CI, it is a store
of this host. On hosts of their own leave BIND away and give all of them the same
CLUSTERSESSION_SECRET. A node joins when its server starts.
"""

import os

from aiohttp import web

from clustersession.aiohttp import ClusterSession, session_of

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")
routes = web.RouteTableDef()


def answer(**more: object) -> web.Response:
    return web.json_response({"node": NODE, "pid": os.getpid(), **more})


@routes.get("/api/whoami")
async def who_am_i(request: web.Request) -> web.Response:
    return answer()


@routes.get("/api/session")
async def show(request: web.Request) -> web.Response:
    return answer(data=session_of(request))


@routes.post("/api/append")
async def append(request: web.Request) -> web.Response:
    item, session = await request.json(), session_of(request)
    session.setdefault(item["key"], []).append(item["value"])  # noticed, although in place
    return answer(data=session)


@routes.post("/api/login")
async def log_in(request: web.Request) -> web.Response:
    user, session = (await request.json())["user"], session_of(request)
    session.rotate()  # a new id at login, so that an id planted before it is worth nothing
    session["user"] = session.principal = user
    return answer(data=session)


@routes.post("/api/logout")
async def log_out(request: web.Request) -> web.Response:
    session_of(request).invalidate()  # ended on every node, for good
    return answer()


@routes.get("/live")
async def live(request: web.Request) -> web.WebSocketResponse:
    """Whatever is sent goes into the cart, and is safe on another node before it is answered."""
    session, socket = session_of(request), web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        session.setdefault("cart", []).append(message.data)
        await session.asave()
        await socket.send_json({"node": NODE, "cart": session["cart"]})
    return socket


def make_app(arguments: list[str]) -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    ClusterSession(app)  # the one line
    return app
