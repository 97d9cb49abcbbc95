"""BlackSheep by our recipe: the session of its requests' scope, beside its own sessions too."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from blacksheep import Application, Request, Response, Router, json
from starlette.testclient import TestClient

from clustersession.asgi import ClusterSessionMiddleware, session_of
from clustersession.session.events import Events
from tests.adapters.asgi_served import ServedByAsgi
from tests.adapters.contract import COOKIE_NAME, AdapterContract, Served, View


def app_with(views: Mapping[str, View]) -> Application:
    app = Application(router=Router())

    def handler(view: View) -> Any:
        async def handle(request: Request) -> Response:
            return json(view(request.scope["session"]))

        return handle

    for name, view in views.items():
        app.router.add_get(f"/{name}", handler(view))
    return app


class TestContract(AdapterContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        app = ClusterSessionMiddleware(app_with(views), listeners=listeners)
        with TestClient(app):
            yield ServedByAsgi(app, app.runtime)


def test_its_own_sessions_are_undisturbed_and_do_not_disturb() -> None:
    app = Application(router=Router())
    app.use_sessions("a secret of BlackSheep's own", session_cookie="theirs")

    @app.router.get("/")
    async def page(request: Request) -> Response:
        ours, theirs = session_of(request), request.session
        ours["n"], theirs["n"] = ours.get("n", 0) + 1, theirs.get("n", 0) + 10
        return json([ours["n"], theirs["n"]])

    with TestClient(ClusterSessionMiddleware(app)) as client:
        assert [client.get("/").json() for _ in range(3)] == [[1, 10], [2, 20], [3, 30]]
        assert set(client.cookies) == {"theirs", COOKIE_NAME}
