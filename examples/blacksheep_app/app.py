"""A shop on BlackSheep, by JSON alone, whose sessions survive the death of a node.

    pip install clustersession blacksheep uvicorn
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 uvicorn app:app --port 8001
    CLUSTERSESSION_ROUTE=tomcat2 uvicorn app:app --port 8002

These are two nodes on one machine; without DISTRIBUTABLE, as on a laptop and in CI, it is a store
of this host. On hosts of their own leave BIND away and give all of them the same
CLUSTERSESSION_SECRET.
"""

import os
from typing import Any

from blacksheep import Application, Request, Response, get, json, post

from clustersession.asgi import ClusterSessionMiddleware, session_of

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")

shop = Application()


def answer(**more: object) -> Response:
    return json({"node": NODE, "pid": os.getpid(), **more})


@get("/api/whoami")
async def who_am_i() -> Response:
    return answer()


@get("/api/session")
async def show(request: Request) -> Response:
    return answer(data=dict(session_of(request)))


@post("/api/append")
async def append(request: Request) -> Response:
    session, item = session_of(request), await request.json()
    session.setdefault(item["key"], []).append(item["value"])  # noticed, although in place
    return answer(data=dict(session))


@post("/api/login")
async def log_in(request: Request) -> Response:
    session, login = session_of(request), await request.json()
    session.rotate()  # a new id at login, so that an id planted before it is worth nothing
    session["user"] = session.principal = login["user"]
    return answer(data=dict(session))


@post("/api/logout")
async def log_out(request: Request) -> Response:
    session_of(request).invalidate()  # ended on every node, for good
    return answer()


app: Any = ClusterSessionMiddleware(shop)  # the one line
