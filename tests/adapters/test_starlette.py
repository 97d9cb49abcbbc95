"""FastAPI and Starlette applications over a real replica."""

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from fastapi import Request, WebSocket
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from clustersession.asgi import ClusterSessionMiddleware, session_of
from clustersession.core.errors import UnserializableValue
from clustersession.session.events import Events
from clustersession.worker.runtime import Runtime
from tests.adapters.asgi_apps import client_of, make_app
from tests.adapters.contract import AdapterContract, Answer, Served, View, in_thread
from tests.session.fakes import token_of_lost_writes


@contextmanager
def disconnecting(client: TestClient) -> Iterator[Any]:
    """A websocket that the client closes, which the handler does not handle."""
    try:
        with client.websocket_connect("/ws") as socket:
            yield socket
    except WebSocketDisconnect:
        return
    raise AssertionError("the handler was to end by the client's going away")


@pytest.fixture(params=["asyncio", "trio"])
def client(request: pytest.FixtureRequest) -> Any:
    with TestClient(make_app(), backend=request.param) as client:
        yield client


def test_a_visit_without_a_session_stores_nothing(client: TestClient) -> None:
    for path in ("/untouched", "/read"):
        response = client.get(path)
        assert "set-cookie" not in response.headers
    assert response.headers["vary"] == "Cookie"
    assert "vary" not in client.get("/untouched").headers


def test_set_read_change_in_place(client: TestClient) -> None:
    response = client.post("/set", json={"cart": ["a"], "n": 1})
    assert response.headers["set-cookie"].endswith(".a; Path=/; HttpOnly; SameSite=Lax")
    assert "set-cookie" not in client.post("/append").headers
    assert client.get("/read").json() == {"cart": ["a", "x"], "n": 1}
    for _ in range(100):
        assert "set-cookie" not in client.get("/read").headers


def test_login_and_logout(client: TestClient) -> None:
    client.post("/set", json={"cart": []})
    before = client.cookies["CLUSTERSESSION"]
    client.post("/login")
    after = client.cookies["CLUSTERSESSION"]
    assert before != after
    assert client.get("/read").json() == {"cart": [], "user": "ann"}
    response = client.post("/logout")
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert "CLUSTERSESSION" not in client.cookies
    for old in (before, after):
        client.cookies["CLUSTERSESSION"] = old
        assert client.get("/read").json() == {}
        client.cookies.clear()


def test_late_changes_are_kept(client: TestClient) -> None:
    client.post("/set", json={"a": 1})
    client.post("/background")
    client.post("/stream")
    assert client.get("/read").json() == {"a": 1, "background": True, "streamed": 2}


def test_what_cannot_be_stored_is_an_error_that_names_it(client: TestClient) -> None:
    with pytest.raises(UnserializableValue, match=r"session\['thing'\]"):
        client.post("/bad")
    silent = TestClient(client.app, raise_server_exceptions=False)
    assert silent.post("/bad").status_code == 500


def test_a_failed_handler_changes_nothing(client: TestClient) -> None:
    client.post("/set", json={"a": 1})
    with pytest.raises(RuntimeError, match="the handler failed"):
        client.post("/raise")
    assert client.get("/read").json() == {"a": 1}


def test_websockets_share_the_session(client: TestClient) -> None:
    with disconnecting(client) as socket:
        # The cookie comes with the acceptance; Starlette's test client does not keep it by itself.
        headers = dict(socket.extra_headers or [])
        cookie = headers[b"set-cookie"].decode().partition(";")[0].partition("=")[2]
        client.cookies["CLUSTERSESSION"] = cookie
        assert client.get("/read").json() == {"opened": 1}
        socket.send_text("save")
        socket.receive_text()
        assert client.get("/read").json() == {"opened": 1, "said": "save"}
        client.post("/set", json={"elsewhere": 1})
        socket.send_text("bye")
        socket.receive_text()
    assert client.get("/read").json() == {"opened": 1, "said": "bye", "elsewhere": 1}


def test_a_closing_socket_does_not_undo_a_logout(client: TestClient) -> None:
    client.post("/set", json={"a": 1})
    cookie = client.cookies["CLUSTERSESSION"]
    with disconnecting(client) as socket:
        client.post("/logout")
        socket.send_text("late")
        socket.receive_text()
    client.cookies["CLUSTERSESSION"] = cookie
    assert client.get("/read").json() == {}


def test_starlettes_names_are_understood() -> None:
    app = make_app(
        session_cookie="sid", max_age=60, path="/", same_site="strict", https_only=True,
        domain="testserver.local", secret_key="a key of Starlette",
    )  # fmt: skip
    with TestClient(app) as client:
        header = client.post("/set", json={"a": 1}).headers["set-cookie"]
    assert header.startswith("sid=")
    assert header.endswith(
        "; Max-Age=60; Path=/; Domain=testserver.local; Secure; HttpOnly; SameSite=Strict"
    )


def test_constructing_opens_nothing(state: Path) -> None:
    make_app().build_middleware_stack()
    assert list(state.iterdir()) == []


def test_the_id_in_a_header() -> None:
    with TestClient(make_app(header_name="X-Session")) as client:
        client.post("/set", json={"a": 1})
        value = client.cookies["CLUSTERSESSION"]
        client.cookies.clear()
        assert client.get("/read", headers={"X-Session": value}).json() == {"a": 1}


def test_the_second_cookie_of_causal_consistency() -> None:
    app = make_app(consistency="causal")
    with TestClient(app) as client:
        both = client.post("/set", json={"cart": []}).headers.get_list("set-cookie")
        assert [header.partition("=")[0] for header in both] == [
            "CLUSTERSESSION", "CLUSTERSESSION_v"
        ]
        (seen,) = client.post("/append").headers.get_list("set-cookie")
        assert seen.startswith("CLUSTERSESSION_v=1")
        assert "set-cookie" not in client.get("/read").headers
        cookie = f"CLUSTERSESSION={client.cookies['CLUSTERSESSION']}"
        middleware: Any = app.middleware_stack
        while not isinstance(middleware, ClusterSessionMiddleware):
            middleware = middleware.app
        manager = middleware.runtime.manager()
        token = token_of_lost_writes(manager, client.cookies["CLUSTERSESSION"])
        # HTTP/2 may bring each cookie in a header of its own.
        client.cookies.clear()
        response = client.get("/read", headers=[
            ("cookie", f"CLUSTERSESSION_v={token}"), ("cookie", cookie)
        ])
        assert response.json() == {"cart": ["x"]}
        assert "set-cookie" not in response.headers
        assert manager.counters.stale_reads == 1
        deleted = client.post("/logout", headers={"cookie": cookie}).headers.get_list("set-cookie")
        assert ["Max-Age=0" in header for header in deleted] == [True, True]


def test_a_websocket_sees_what_others_write_and_learns_of_the_logout() -> None:
    app = make_app()

    @app.websocket("/watch")
    async def watch(socket: WebSocket) -> None:
        session = session_of(socket)
        await socket.accept()
        async for text in socket.iter_text():
            session["said"] = text
            if not await session.areload():
                await socket.close(4401)
                return
            await socket.send_json(session)

    with TestClient(app) as client:
        client.post("/set", json={"a": 1})
        with client.websocket_connect("/watch") as socket:
            client.post("/set", json={"a": 2})
            socket.send_text("hello")
            assert socket.receive_json() == {"a": 2, "said": "hello"}
            assert client.get("/read").json() == {"a": 2}
            client.post("/logout")
            socket.send_text("still there?")
            with pytest.raises(WebSocketDisconnect) as closed:
                socket.receive_json()
        assert closed.value.code == 4401


def test_clear_is_a_logout_that_no_late_request_undoes() -> None:
    late: list[Callable[[], object]] = []

    def log_in(session: Any) -> object:
        session["user"] = "ann"
        return None

    def log_out(session: Any) -> object:
        session.clear()
        return None

    def change_user(session: Any) -> object:
        session.clear()
        session["user"] = "bob"
        return None

    def slow(session: Any) -> object:
        late.pop()()
        session["user"] = "ann still"
        return None

    def read(session: Any) -> object:
        return session.get("user")

    views: dict[str, View] = {v.__name__: v for v in (log_in, log_out, change_user, slow, read)}
    served = ServedByStarlette(views)
    try:
        cookie = served.get("log_in").cookie
        late.append(lambda: served.get("log_out", cookie))
        assert not served.get("slow", cookie).cookie
        assert served.get("read", cookie).data is None
        before = served.get("log_in").cookie
        after = served.get("change_user", before).cookie
        assert after
        assert after != before
        assert [served.get("read", value).data for value in (before, after)] == [None, "bob"]
    finally:
        served.runtime().close()


class ServedByStarlette(Served):
    def __init__(self, views: Mapping[str, View], listeners: Events | None = None) -> None:
        def endpoint(name: str, view: View) -> Any:
            async def handle(request: Request) -> JSONResponse:
                return JSONResponse(view(None if name == "untouched" else request.session))

            return handle

        self._middleware = ClusterSessionMiddleware(
            Starlette(routes=[Route(f"/{name}", endpoint(name, v)) for name, v in views.items()]),
            listeners=listeners,
        )

    def run(self, work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        return in_thread(work)

    def get(self, view: str, cookie: str | None = None) -> Answer:
        async def request() -> Answer:
            async with client_of(self._middleware) as client:
                headers = {} if cookie is None else {"Cookie": f"CLUSTERSESSION={cookie}"}
                response = await client.get(f"/{view}", headers=headers)
            return Answer(
                response.status_code, response.json(),
                tuple(response.headers.get_list("set-cookie")), response.headers.get("vary", ""),
            )

        return self.run(request)

    def runtime(self) -> Runtime:
        return self._middleware.runtime


class ServedByStarletteInTrio(ServedByStarlette):
    def run(self, work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        return in_thread(lambda: trio.run(work))


class TestContract(AdapterContract):
    served = ServedByStarlette

    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        served = self.served(views, listeners)
        try:
            yield served
        finally:
            served.runtime().close()


class TestContractInTrio(TestContract):
    served = ServedByStarletteInTrio
