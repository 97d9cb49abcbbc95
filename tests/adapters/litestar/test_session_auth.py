"""Litestar's SessionAuth beside the plugin, before and after a failover."""

from typing import Any

import pytest
from litestar import Litestar, Request, Router, get, post
from litestar.middleware.session.client_side import CookieBackendConfig
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.security.session_auth import SessionAuth
from litestar.testing import TestClient

from clustersession.asgi import ClusterSessionMiddleware
from clustersession.litestar import ClusterSessionPlugin
from tests.adapters.litestar.app import HANDLERS


@get("/me")
async def me(request: Request[Any, Any, Any]) -> Any:
    return request.user


@get("/copy")
async def copy(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return dict(request.session)


@post("/login", exclude_from_auth=True)
async def log_in(request: Request[Any, Any, Any]) -> None:
    request.set_session({"user": "ann"})


@post("/logout")
async def log_out(request: Request[Any, Any, Any]) -> None:
    request.clear_session()


async def user_of(session: dict[str, Any], _: Any) -> Any:
    return session.get("user")


def make_app(backend: Any, layer: str) -> Litestar:
    auth = SessionAuth[Any, Any](retrieve_user_handler=user_of, session_backend_config=backend)
    plugins, handlers = [ClusterSessionPlugin()], [me, log_in, log_out]
    if layer == "application":
        app = Litestar(
            handlers, on_app_init=[auth.on_app_init], plugins=plugins, logging_config=None
        )
    else:
        router = Router("/", route_handlers=handlers, middleware=[auth.middleware])
        app = Litestar([router], plugins=plugins, logging_config=None)
    assert auth.session_backend_config is backend
    return app


@pytest.mark.parametrize("backend", [
    ServerSideSessionConfig(), CookieBackendConfig(secret=b"0123456789abcdef"),
], ids=["server", "cookie"])  # fmt: skip
@pytest.mark.parametrize("layer", ["application", "router"])
def test_a_user_stays_logged_in_after_a_failover(backend: Any, layer: str) -> None:
    with TestClient(make_app(backend, layer)) as client:
        assert client.get("/me").status_code == 401
        client.post("/login")
        assert client.get("/me").text == "ann"
        cookies = dict(client.cookies)
    assert cookies.keys() == {"CLUSTERSESSION"}
    # What was in the memory of the other process is gone.
    with TestClient(make_app(backend, layer), cookies=cookies) as client:
        assert client.get("/me").text == "ann"
        client.post("/logout")
        assert client.get("/me").status_code == 401
    with TestClient(make_app(backend, layer), cookies=cookies) as client:
        assert client.get("/me").status_code == 401


@pytest.mark.parametrize("is_around", [False, True], ids=["plugin", "middleware"])
def test_litestars_own_session_middleware_leaves_ours_alone(
    is_around: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def make(*theirs: Any) -> Any:
        plugins = [] if is_around else [ClusterSessionPlugin()]
        app: Any = Litestar(
            [*HANDLERS, copy], middleware=theirs, plugins=plugins, logging_config=None
        )
        return ClusterSessionMiddleware(app) if is_around else app

    with TestClient(make()) as client:
        client.post("/set", json={"a": 1})
        cookies = dict(client.cookies)
    with TestClient(make(ServerSideSessionConfig().middleware), cookies=cookies) as client:
        assert client.get("/copy").json() == {}
        client.post("/replace")
        assert client.get("/copy").json() == {"only": "this"}
        client.post("/logout")
        assert client.get("/copy").json() == {}
    assert "litestar.middleware.session" in caplog.text
    with TestClient(make(), cookies=cookies) as client:
        assert client.get("/copy").json() == {"a": 1}
