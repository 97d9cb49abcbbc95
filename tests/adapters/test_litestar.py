"""Litestar: the plugin and the store, over a real replica, in Litestar's own way."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.handlers import BaseRouteHandler
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.testing import TestClient

from clustersession.core.errors import ConfigurationError, SessionTooLarge
from clustersession.litestar import ClusterSessionPlugin, session_of
from clustersession.litestar.store import ClusterStore
from clustersession.session.events import Events
from clustersession.worker.runtime import Runtime
from tests.adapters.contract import AdapterContract, Answer, Served, View, in_thread

MINUTE_MS = 60_000


@dataclass
class Profile:
    user: str
    age: int


@get("/read")
async def read(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return request.session


@get("/untouched")
async def untouched() -> str:
    return "ok"


@post("/set", status_code=200)
async def set_values(request: Request[Any, Any, Any]) -> None:
    request.session.update(await request.json())


@post("/model", status_code=200)
async def set_model(request: Request[Any, Any, Any]) -> None:
    request.set_session(Profile("ann", 7))


@post("/replace", status_code=200)
async def replace(request: Request[Any, Any, Any]) -> None:
    request.set_session({"only": "this"})


@post("/login", status_code=200)
async def log_in(request: Request[Any, Any, Any]) -> None:
    session_of(request).rotate()
    request.session["user"] = "ann"


@post("/logout", status_code=200)
async def log_out(request: Request[Any, Any, Any]) -> None:
    request.clear_session()


@websocket("/ws")
async def socket_handler(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    session = session_of(socket)
    while (text := await socket.receive_text()) != "bye":
        session["said"] = text
        alive = await session.areload()
        await session.asave()
        await socket.send_json({"alive": alive, **session})
    await socket.close()


HANDLERS: list[Any] = [
    read, untouched, set_values, set_model, replace, log_in, log_out, socket_handler
]


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


# --- the store ------------------------------------------------------------------------------------


@pytest.fixture
def store() -> Iterator[ClusterStore]:
    store = ClusterStore()
    yield store
    store.runtime.close()


class Clock:
    """Moves the wall clock of a store's manager."""

    def __init__(self, store: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> None:
        manager = store.runtime.manager()
        self.ahead_ms = 0
        real = manager.now_ms
        monkeypatch.setattr(manager, "now_ms", lambda: real() + self.ahead_ms)


@pytest.fixture
def clock(store: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(store, monkeypatch)


def elsewhere(work: Callable[[], Any]) -> Any:
    """In another request: with a context of its own."""
    return in_thread(work)


async def test_set_get_delete(store: ClusterStore) -> None:
    assert await store.get("id") is None
    await store.set("id", b"one")
    await store.set("id", "two")
    assert await store.get("id") == b"two"
    assert await store.exists("id")
    assert await store.expires_in("id") == -1
    await store.delete("id")
    assert await store.get("id") is None
    assert not await store.exists("id")
    assert await store.expires_in("id") is None
    await store.delete("id")


async def test_expiry_is_exact_and_renewed(store: ClusterStore, clock: Clock) -> None:
    await store.set("id", b"x", expires_in=100)
    assert await store.expires_in("id") in (99, 100)
    clock.ahead_ms = 99_000
    assert await store.get("id", renew_for=100) == b"x"
    clock.ahead_ms = 198_000
    assert await store.get("id") == b"x"
    clock.ahead_ms = 199_500
    assert await store.get("id") is None
    assert not await store.exists("id")
    await store.set("id", b"again", expires_in=10)
    assert await store.get("id") == b"again"


async def test_a_value_without_expiry_is_not_given_one(store: ClusterStore) -> None:
    await store.set("id", b"x")
    assert await store.get("id", renew_for=10) == b"x"
    assert await store.expires_in("id") == -1


async def test_reading_and_writing_the_same_write_little(store: ClusterStore) -> None:
    replica = store.runtime.manager().replica
    await store.set("id", b"x", expires_in=1000)
    head = replica.head()
    for _ in range(10):
        await store.get("id", renew_for=1000)
        await store.set("id", b"x", expires_in=1000)
    assert replica.head() == head
    await store.set("id", b"x", expires_in=2000)
    assert replica.head() == head + 1


async def test_a_logout_wins_over_a_request_that_still_runs(store: ClusterStore) -> None:
    await store.set("id", b"x")
    assert await store.get("id") == b"x"
    elsewhere(lambda: store.delete("id"))
    await store.set("id", b"late")
    assert await store.get("id") is None
    # The next request of a browser that held on to its cookie.
    elsewhere(lambda: store.set("id", b"new"))
    assert await store.get("id") == b"new"


async def test_an_id_can_be_used_again_but_not_for_ever(store: ClusterStore) -> None:
    for round_ in range(16):
        await store.set("id", b"%d" % round_)
        assert await store.get("id") == b"%d" % round_
        await store.delete("id")
    await store.set("id", b"too often")
    assert await store.get("id") is None


async def test_delete_all_ends_the_values_of_this_store_alone(store: ClusterStore) -> None:
    other = ClusterStore(name="other")
    for number in range(600):
        await store.set(f"id{number}", b"x")
    await other.set("id1", b"other")
    await store.delete_all()
    assert not any([await store.exists(f"id{number}") for number in range(600)])
    assert await other.get("id1") == b"other"
    other.runtime.close()


async def test_a_foreign_id_is_never_a_key(store: ClusterStore) -> None:
    replica = store.runtime.manager().replica
    hostile = ["", "\x00", "x" * 10_000, "litestar.AAAA", "\ud800", "../../etc", "a.b"]
    for identifier in hostile:
        assert await store.get(identifier) is None
        await store.set(identifier, identifier.encode("utf-8", "replace"))
    keys = replica.keys("", 100)
    assert len(keys) == len(hostile)
    assert all(len(key) == len("litestar.") + 43 for key in keys)
    # Whoever can list the keys cannot use one as an id.
    assert [await store.get(key) for key in keys] == [None] * len(keys)


async def test_too_large_a_value_is_refused() -> None:
    store = ClusterStore(attribute_bytes_max=100)
    with pytest.raises(SessionTooLarge, match="attribute_bytes_max is 100"):
        await store.set("id", b"x" * 101)
    store.runtime.close()


async def test_made_up_ids_keep_few_questions_to_peers_in_flight(store: ClusterStore) -> None:
    manager = store.runtime.manager()
    asked, most = 0, 0

    async def fetch(key: str) -> bool:
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        await asyncio.sleep(0)
        asked -= 1
        return False

    manager.cluster.fetch_async = fetch  # type: ignore[method-assign]
    await asyncio.gather(*(store.get(str(number)) for number in range(100)))
    assert most == 16


def test_litestars_own_sessions_over_the_store() -> None:
    def app() -> Litestar:
        return Litestar(
            HANDLERS, logging_config=None, middleware=[ServerSideSessionConfig().middleware],
            stores={"sessions": ClusterStore()},
        )

    with TestClient(app()) as first, TestClient(app()) as second:
        first.post("/set", json={"a": [1]})
        second.cookies.set("session", first.cookies["session"])
        assert second.get("/read").json() == {"a": [1]}
        second.post("/logout")
        assert first.get("/read").json() == {}
