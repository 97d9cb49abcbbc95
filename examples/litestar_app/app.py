"""A shop on Litestar whose sessions survive the death of a node.

    pip install "clustersession[litestar]" uvicorn
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 uvicorn app:app --port 8001
    CLUSTERSESSION_ROUTE=tomcat2 uvicorn app:app --port 8002

These are two nodes on one machine; without DISTRIBUTABLE, as on a laptop and in CI, it is a store
of this host. On hosts of their own leave BIND away and give all of them the same
CLUSTERSESSION_SECRET.
"""

import os
from dataclasses import dataclass
from typing import Any

from litestar import Litestar, Request, get, post

from clustersession.litestar import ClusterSessionPlugin, session_of

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")
AnyRequest = Request[Any, Any, Any]


@dataclass
class Item:
    key: str
    value: Any


@dataclass
class Login:
    user: str


def answer(**more: object) -> dict[str, object]:
    return {"node": NODE, "pid": os.getpid(), **more}


@get("/api/whoami", sync_to_thread=False)
def who_am_i() -> dict[str, object]:
    return answer()


@get("/api/session", sync_to_thread=False)
def show(request: AnyRequest) -> dict[str, object]:
    return answer(data=dict(request.session))


@post("/api/append", status_code=200, sync_to_thread=False)
def append(request: AnyRequest, data: Item) -> dict[str, object]:
    request.session.setdefault(data.key, []).append(data.value)  # noticed, although in place
    return answer(data=dict(request.session))


@post("/api/login", status_code=200, sync_to_thread=False)
def log_in(request: AnyRequest, data: Login) -> dict[str, object]:
    session = session_of(request)
    session.rotate()  # a new id at login, so that an id planted before it is worth nothing
    session["user"] = session.principal = data.user
    return answer(data=dict(session))


@post("/api/logout", status_code=200, sync_to_thread=False)
def log_out(request: AnyRequest) -> dict[str, object]:
    request.clear_session()  # ended on every node, for good
    return answer()


app = Litestar(
    [who_am_i, show, append, log_in, log_out],
    plugins=[ClusterSessionPlugin()],  # the one line
)
