"""Falcon by our recipes: the session in the context of its requests, under ASGI and WSGI."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import falcon
import falcon.asgi
import httpx
from werkzeug.test import Client

from clustersession import asgi, wsgi
from clustersession.session.events import Events
from clustersession.worker.runtime import Runtime
from tests.adapters.asgi_served import ServedByAsgi
from tests.adapters.contract import COOKIE_NAME, AdapterContract, Answer, Served, View


class SessionInContext:
    async def process_request(self, req: Any, resp: Any) -> None:
        req.context.session = req.scope["session"]


class SessionInWsgiContext:
    def process_request(self, req: Any, resp: Any) -> None:
        req.context.session = req.env["clustersession.session"]


def under_asgi(views: Mapping[str, View]) -> Any:
    app: Any = falcon.asgi.App(middleware=[SessionInContext()])

    def resource(view: View) -> object:
        class Resource:
            async def on_get(self, req: Any, resp: Any) -> None:
                resp.media = view(req.context.session)

        return Resource()

    for name, view in views.items():
        app.add_route(f"/{name}", resource(view))
    return app


def under_wsgi(views: Mapping[str, View]) -> Any:
    app: Any = falcon.App(middleware=[SessionInWsgiContext()])

    def resource(view: View) -> object:
        class Resource:
            def on_get(self, req: Any, resp: Any) -> None:
                resp.media = view(req.context.session)

        return Resource()

    for name, view in views.items():
        app.add_route(f"/{name}", resource(view))
    return app


class ServedByFalcon(ServedByAsgi):
    def data_of(self, reply: httpx.Response) -> Any:
        # Falcon sends no body for None.
        return json.loads(reply.content or b"null")


class ServedByWsgi(Served):
    def __init__(self, app: wsgi.ClusterSessionMiddleware) -> None:
        self._app = app

    def get(self, view: str, cookie: str | None = None) -> Answer:
        headers = {"Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else {}
        with Client(self._app, use_cookies=False).get(f"/{view}", headers=headers) as reply:
            return Answer(
                reply.status_code, json.loads(reply.data or b"null"),
                tuple(reply.headers.getlist("Set-Cookie")), reply.headers.get("Vary", ""),
            )

    def runtime(self) -> Runtime:
        return self._app.runtime


class TestContract(AdapterContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        app = asgi.ClusterSessionMiddleware(under_asgi(views), listeners=listeners)
        try:
            yield ServedByFalcon(app, app.runtime)
        finally:
            app.runtime.close()


class TestContractUnderWsgi(AdapterContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        app = wsgi.ClusterSessionMiddleware(under_wsgi(views), listeners=listeners)
        try:
            yield ServedByWsgi(app)
        finally:
            app.runtime.close()

    def clear(self, session: Any) -> None:
        session.invalidate()
