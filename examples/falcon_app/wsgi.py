"""gunicorn wsgi:app: the shop of app.py under WSGI."""

import os
from typing import Any

from falcon import App, Request, Response

from clustersession.session.session import Session
from clustersession.wsgi import ClusterSessionMiddleware

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")


class SessionInContext:
    """Falcon's middleware: the session is ``req.context.session``, typed."""

    def process_request(self, req: Request, resp: Response) -> None:
        session: Session = req.env["clustersession.session"]
        req.context.session = session


def answer(resp: Response, **more: object) -> None:
    resp.media = {"node": NODE, "pid": os.getpid(), **more}


class WhoAmI:
    def on_get(self, req: Request, resp: Response) -> None:
        answer(resp)


class Show:
    def on_get(self, req: Request, resp: Response) -> None:
        answer(resp, data=dict(req.context.session))


class Append:
    def on_post(self, req: Request, resp: Response) -> None:
        item: Any = req.get_media()
        req.context.session.setdefault(item["key"], []).append(item["value"])
        answer(resp, data=dict(req.context.session))


class Login:
    def on_post(self, req: Request, resp: Response) -> None:
        session, login = req.context.session, req.get_media()
        session.rotate()
        session["user"] = session.principal = login["user"]
        answer(resp, data=dict(session))


class Logout:
    def on_post(self, req: Request, resp: Response) -> None:
        req.context.session.invalidate()
        answer(resp)


shop: Any = App(middleware=[SessionInContext()])
shop.add_route("/api/whoami", WhoAmI())
shop.add_route("/api/session", Show())
shop.add_route("/api/append", Append())
shop.add_route("/api/login", Login())
shop.add_route("/api/logout", Logout())

app = ClusterSessionMiddleware(shop)  # the one line
