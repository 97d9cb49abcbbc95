"""A shop on Falcon, by JSON alone, whose sessions survive the death of a node.

    pip install clustersession falcon uvicorn gunicorn
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 uvicorn app:app --port 8001
    CLUSTERSESSION_ROUTE=tomcat2 uvicorn app:app --port 8002

These are two nodes on one machine; without DISTRIBUTABLE, as on a laptop and in CI, it is a store
of this host. On hosts of their own leave BIND away and give all of them the same
CLUSTERSESSION_SECRET. wsgi.py beside this file is the same shop under WSGI.
"""

import os
from typing import Any, cast

from falcon.asgi import App, Request, Response

from clustersession.asgi import ClusterSessionMiddleware
from clustersession.session.session import Session

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")


class SessionInContext:
    """Falcon's middleware: the session is ``req.context.session``, typed."""

    async def process_request(self, req: Request, resp: Response) -> None:
        # Nobody has looked at it by this, so not every response has to vary with the cookie.
        req.context.session = cast(Session, req.scope["session"])


def answer(resp: Response, **more: object) -> None:
    resp.media = {"node": NODE, "pid": os.getpid(), **more}


class WhoAmI:
    async def on_get(self, req: Request, resp: Response) -> None:
        answer(resp)


class Show:
    async def on_get(self, req: Request, resp: Response) -> None:
        answer(resp, data=dict(req.context.session))


class Append:
    async def on_post(self, req: Request, resp: Response) -> None:
        item: Any = await req.get_media()
        # Noticed, although changed in place.
        req.context.session.setdefault(item["key"], []).append(item["value"])
        answer(resp, data=dict(req.context.session))


class Login:
    async def on_post(self, req: Request, resp: Response) -> None:
        session, login = req.context.session, await req.get_media()
        session.rotate()  # a new id at login, so that an id planted before it is worth nothing
        session["user"] = session.principal = login["user"]
        answer(resp, data=dict(session))


class Logout:
    async def on_post(self, req: Request, resp: Response) -> None:
        req.context.session.invalidate()  # ended on every node, for good
        answer(resp)


shop: Any = App(middleware=[SessionInContext()])
shop.add_route("/api/whoami", WhoAmI())
shop.add_route("/api/session", Show())
shop.add_route("/api/append", Append())
shop.add_route("/api/login", Login())
shop.add_route("/api/logout", Logout())

app = ClusterSessionMiddleware(shop)  # the one line
