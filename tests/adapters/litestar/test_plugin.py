"""The plugin for Litestar, over a real replica, in Litestar's own way."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from litestar import Litestar, Request, get
from litestar.handlers import BaseRouteHandler
from litestar.testing import TestClient

from clustersession.core.errors import ConfigurationError
from clustersession.litestar import ClusterSessionPlugin
from clustersession.litestar.store import ClusterStore
from clustersession.session.events import Events
from clustersession.worker.runtime import Runtime
from tests.adapters.contract import AdapterContract, Answer, Served, View, in_thread
from tests.adapters.litestar.app import HANDLERS


@pytest.fixture
def client() -> Iterator[Any]:
    app = Litestar(HANDLERS, logging_config=None, plugins=[ClusterSessionPlugin()])
    with TestClient(app) as client:
        yield client


def test_nothing_for_visitors_without_a_session(client: Any) -> None:
    assert "set-cookie" not in client.get("/read").headers
    assert not {"set-cookie", "vary"} & set(client.get("/untouched").headers)


def test_set_and_read(client: Any) -> None:
    response = client.post("/set", json={"a": [1]})
    assert response.headers["set-cookie"].endswith(".a; Path=/; HttpOnly; SameSite=Lax")
    # A handler may return the session itself: it is serialized by C code.
    assert client.get("/read").json() == {"a": [1]}
    assert "set-cookie" not in client.get("/read").headers


def test_litestars_own_ways_of_changing_the_session(client: Any) -> None:
    client.post("/set", json={"a": 1})
    cookie = client.cookies["CLUSTERSESSION"]
    client.post("/replace")
    assert client.get("/read").json() == {"only": "this"}
    client.post("/model")
    assert client.get("/read").json() == {"user": "ann", "age": 7}
    assert client.cookies["CLUSTERSESSION"] == cookie
    response = client.post("/logout")
    assert "Max-Age=0" in response.headers["set-cookie"]
    client.cookies.set("CLUSTERSESSION", cookie)
    assert client.get("/read").json() == {}


def test_a_login_takes_a_new_id(client: Any) -> None:
    client.post("/set", json={"a": 1})
    before = client.cookies["CLUSTERSESSION"]
    client.post("/login")
    assert client.cookies["CLUSTERSESSION"] != before
    assert client.get("/read").json() == {"a": 1, "user": "ann"}


def test_a_websocket_sees_and_makes_changes(client: Any) -> None:
    client.post("/set", json={"a": 1})
    with client.websocket_connect("/ws") as socket:
        client.post("/set", json={"a": 2})
        socket.send_text("hello")
        assert socket.receive_json() == {"alive": True, "a": 2, "said": "hello"}
        assert client.get("/read").json() == {"a": 2, "said": "hello"}
        client.post("/logout")
        socket.send_text("still there?")
        assert socket.receive_json() == {"alive": False}
        socket.send_text("bye")


def test_the_test_client_of_litestar_reads_and_writes_sessions(client: Any) -> None:
    plugin = ClusterSessionPlugin(ready_path="/ready", exclude=["/untouched"])
    with TestClient(Litestar(HANDLERS, logging_config=None, plugins=[plugin])) as other:
        assert other.get("/ready").status_code == 200
        assert other.get("/untouched").status_code == 200


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="url_parameter"):
        ClusterSessionPlugin(url_parameter="jsessionid")
    with pytest.raises(ConfigurationError, match="name is 'A'"):
        ClusterStore(name="A")


class ServedByLitestar(Served):
    def __init__(self, app: Litestar, plugin: ClusterSessionPlugin) -> None:
        self._app = app
        self._plugin = plugin

    def get(self, view: str, cookie: str | None = None) -> Answer:
        def request() -> Answer:
            client: Any = TestClient(self._app)  # not entered: it would start and stop the node
            headers = {} if cookie is None else {"Cookie": f"CLUSTERSESSION={cookie}"}
            response = client.get(f"/{view}", headers=headers)
            return Answer(
                response.status_code, response.json()["value"],
                tuple(response.headers.get_list("set-cookie")), response.headers.get("vary", ""),
            )

        return in_thread(request)

    def runtime(self) -> Runtime:
        return self._plugin.runtime


def handler_of(name: str, view: View) -> BaseRouteHandler:
    @get(f"/{name}", sync_to_thread=False)
    def handler(request: Request[Any, Any, Any]) -> Any:
        return {"value": view(None if name == "untouched" else request.session)}

    return handler


class TestContract(AdapterContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        plugin = ClusterSessionPlugin(listeners=listeners)
        handlers = [handler_of(name, view) for name, view in views.items()]
        app = Litestar(handlers, logging_config=None, plugins=[plugin])
        try:
            yield ServedByLitestar(app, plugin)
        finally:
            plugin.runtime.close()
