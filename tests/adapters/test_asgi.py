"""FastAPI, Starlette and bare ASGI applications over a real replica."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from clustersession.asgi import ClusterSessionMiddleware, session_of
from clustersession.core.errors import ConfigurationError, UnserializableValue
from clustersession.fastapi import SessionDependency
from clustersession.session.events import Events
from clustersession.worker.runtime import Runtime
from tests.adapters.contract import AdapterContract, Answer, Served, View, in_thread


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(ClusterSessionMiddleware, **options)

    @app.get("/read")
    async def read(request: Request) -> dict[str, Any]:
        return request.session

    @app.get("/untouched")
    async def untouched() -> str:
        return "ok"

    @app.post("/set")
    async def set_values(request: Request) -> str:
        request.session.update(await request.json())
        return "ok"

    @app.post("/append")
    async def append(request: Request) -> str:
        request.session["cart"].append("x")
        return "ok"

    @app.post("/login")
    async def login(request: Request) -> str:
        request.session.rotate()  # type: ignore[attr-defined]
        request.session["user"] = "ann"
        return "ok"

    @app.post("/logout")
    async def logout(request: Request) -> str:
        request.session.invalidate()  # type: ignore[attr-defined]
        return "ok"

    @app.post("/background")
    async def background(request: Request, tasks: BackgroundTasks) -> str:
        tasks.add_task(request.session.__setitem__, "background", True)
        return "ok"

    @app.post("/stream")
    async def stream(request: Request) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            for i in range(3):
                request.session["streamed"] = i
                yield b"x"

        return StreamingResponse(body())

    @app.post("/bad")
    async def bad(request: Request) -> str:
        request.session["thing"] = object()
        return "ok"

    @app.post("/raise")
    async def fail(request: Request) -> str:
        request.session["half"] = True
        raise RuntimeError("the handler failed")

    @app.websocket("/ws")
    async def websocket(socket: WebSocket) -> None:
        socket.session["opened"] = socket.session.get("opened", 0) + 1
        await socket.accept()
        while True:
            text = await socket.receive_text()
            socket.session["said"] = text
            if text == "save":
                await socket.session.asave()  # type: ignore[attr-defined]
            await socket.send_text("noted")

    return app


@contextmanager
def disconnecting(client: TestClient) -> Iterator[Any]:
    """A websocket that the client closes, which the handler does not handle."""
    try:
        with client.websocket_connect("/ws") as socket:
            yield socket
    except WebSocketDisconnect:
        return
    raise AssertionError("the handler was to end by the client's going away")


@pytest.fixture
def client() -> Any:
    with TestClient(make_app()) as client:
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


def test_an_unknown_option_is_refused_at_once() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="cookie_name"):
        ClusterSessionMiddleware(app, cookie_nam="x")


def test_constructing_opens_nothing(state: Path) -> None:
    make_app().build_middleware_stack()
    assert list(state.iterdir()) == []


def test_an_unusable_state_directory_fails_the_start(state: Path) -> None:
    (state / "file").write_text("not a directory")
    messages: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("must not be reached")

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        messages.append(message)

    middleware = ClusterSessionMiddleware(app, state_dir=str(state / "file"))
    with pytest.raises(Exception, match="state"):
        asyncio.run(middleware({"type": "lifespan"}, receive, send))  # type: ignore[arg-type]
    assert messages[0]["type"] == "lifespan.startup.failed"


def test_the_id_in_a_header() -> None:
    with TestClient(make_app(header_name="X-Session")) as client:
        client.post("/set", json={"a": 1})
        value = client.cookies["CLUSTERSESSION"]
        client.cookies.clear()
        assert client.get("/read", headers={"X-Session": value}).json() == {"a": 1}


async def test_concurrent_requests_keep_each_others_keys() -> None:
    release = asyncio.Event()
    waiting = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if scope["path"] == "/slow":
            session["slow"] = session.get("slow", 0) + 1
            waiting.set()
            await release.wait()
        elif scope["path"] == "/logout":
            session.invalidate()
        else:
            session["fast"] = session.get("fast", 0) + 1
        body = json.dumps(session).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    middleware = ClusterSessionMiddleware(app)
    transport = httpx.ASGITransport(app=middleware)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/fast")
        slow = asyncio.create_task(client.get("/slow"))
        await waiting.wait()
        assert (await client.get("/fast")).json() == {"fast": 2}
        release.set()
        assert (await slow).json() == {"fast": 1, "slow": 1}
        assert (await client.get("/fast")).json() == {"fast": 3, "slow": 1}

        release.clear()
        waiting.clear()
        cookie = client.cookies["CLUSTERSESSION"]
        slow = asyncio.create_task(client.get("/slow"))
        await waiting.wait()
        await client.get("/logout")
        release.set()
        assert "set-cookie" not in (await slow).headers
        client.cookies["CLUSTERSESSION"] = cookie
        assert (await client.get("/fast")).json() == {"fast": 1}
    middleware.runtime.close()


async def test_an_existing_vary_header_is_respected() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"].get("a")
        headers = [(b"Vary", b"Accept, Cookie")] if scope["path"] == "/named" else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    middleware = ClusterSessionMiddleware(app)
    transport = httpx.ASGITransport(app=middleware)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/named")).headers.get_list("vary") == ["Accept, Cookie"]
        assert (await client.get("/other")).headers.get_list("vary") == ["Cookie"]
    middleware.runtime.close()


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
        # HTTP/2 may bring each cookie in a header of its own.
        client.cookies.clear()
        response = client.get("/read", headers=[
            ("cookie", f"CLUSTERSESSION_v=1{'B' * 19}"), ("cookie", cookie)
        ])
        assert response.json() == {"cart": ["x"]}
        assert "set-cookie" not in response.headers
        middleware: Any = app.middleware_stack
        while not isinstance(middleware, ClusterSessionMiddleware):
            middleware = middleware.app
        assert middleware.runtime.manager().counters.stale_reads == 1
        deleted = client.post("/logout", headers={"cookie": cookie}).headers.get_list("set-cookie")
        assert ["Max-Age=0" in header for header in deleted] == [True, True]


def bare_app() -> Any:
    """Counts visits, answers with the path it sees and what the session holds."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if scope["path"] == "/count":
            session["n"] = session.get("n", 0) + 1
        elif scope["path"] == "/end":
            session.invalidate()
        elif scope["path"] == "/replace":
            scope["session"] = {"replaced": True}
        body = json.dumps({"path": scope["path"], "data": dict(scope["session"])}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


def client_of(middleware: ClusterSessionMiddleware) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=middleware)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_a_native_client_lives_by_the_header_alone() -> None:
    middleware = ClusterSessionMiddleware(bare_app(), header_name="Mcp-Session-Id")
    async with client_of(middleware) as client:
        first = await client.get("/count", headers={"Mcp-Session-Id": ""})
        value = first.headers["mcp-session-id"]
        assert value.endswith(".a")
        assert first.headers["cache-control"] == "no-store"
        assert first.headers["vary"] == "Cookie, Mcp-Session-Id"
        assert "set-cookie" not in first.headers
        second = await client.get("/count", headers={"Mcp-Session-Id": value})
        assert second.json()["data"] == {"n": 2}
        assert "mcp-session-id" not in second.headers
        ended = await client.get("/end", headers={"Mcp-Session-Id": value})
        assert ended.headers["mcp-session-id"] == ""
        again = await client.get("/count", headers={"Mcp-Session-Id": value})
        assert again.json()["data"] == {"n": 1}
        assert again.headers["mcp-session-id"] != value
        # Neither cookie nor header: both, unless it is a browser.
        both = await client.get("/count")
        assert both.headers["mcp-session-id"]
        assert both.headers["set-cookie"]
        client.cookies.clear()
        browser = await client.get("/count", headers={"Sec-Fetch-Site": "none"})
        assert "mcp-session-id" not in browser.headers
        assert "set-cookie" in browser.headers
    middleware.runtime.close()


async def test_the_id_in_the_path() -> None:
    middleware = ClusterSessionMiddleware(bare_app(), url_parameter="jsessionid")
    async with client_of(middleware) as client:
        await client.get("/count")
        value = client.cookies["CLUSTERSESSION"]
        client.cookies.clear()
        response = await client.get(f"/count;jsessionid={value}")
        assert response.json() == {"path": "/count", "data": {"n": 2}}
        assert "set-cookie" not in response.headers
        forged = await client.get(f"/count;jsessionid={'A' * len(value)}.a")
        assert forged.json()["data"] == {"n": 1}
    middleware.runtime.close()


async def test_the_path_parameter_is_left_alone_when_not_asked_for() -> None:
    middleware = ClusterSessionMiddleware(bare_app())
    async with client_of(middleware) as client:
        assert (await client.get("/a;jsessionid=x")).json()["path"] == "/a;jsessionid=x"
    middleware.runtime.close()


async def test_an_excluded_path_has_no_session() -> None:
    middleware = ClusterSessionMiddleware(bare_app(), exclude=[r".*\.css", "/count/off"])
    async with client_of(middleware) as client:
        await client.get("/count")
        response = await client.get("/style.css")
        assert response.json()["data"] == {}
        assert not {"set-cookie", "vary"} & set(response.headers)
        assert (await client.get("/style.cssx")).json()["data"] == {"n": 1}
    middleware.runtime.close()


async def test_a_session_that_the_application_replaced_is_committed() -> None:
    middleware = ClusterSessionMiddleware(bare_app())
    async with client_of(middleware) as client:
        await client.get("/count")
        await client.get("/replace")
        assert (await client.get("/")).json()["data"] == {"replaced": True}
    middleware.runtime.close()


def test_the_dependency_of_fastapi() -> None:
    app = FastAPI()

    @app.get("/count")
    async def count(session: SessionDependency) -> dict[str, int]:
        session["n"] = session.get("n", 0) + 1
        return {"n": session["n"]}

    @app.websocket("/ws")
    async def websocket(socket: WebSocket, session: SessionDependency) -> None:
        await socket.accept()
        await socket.send_json(session)

    with (
        TestClient(app) as client,
        pytest.raises(RuntimeError, match="ClusterSessionMiddleware"),
    ):
        client.get("/count")
    app.middleware_stack = None
    app.add_middleware(ClusterSessionMiddleware)
    with TestClient(app) as client:
        client.get("/count")
        assert client.get("/count").json() == {"n": 2}
        with client.websocket_connect("/ws") as socket:
            assert socket.receive_json() == {"n": 2}


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


@pytest.mark.parametrize(("name", "value", "better"), [
    ("store", "memory", "distributable"), ("lifetime", 60, "cookie_max_age_s"),
    ("rolling", True, "idle_timeout_s"), ("serializer", None, "register"),
])  # fmt: skip
def test_the_names_of_starsessions_that_mean_something_else_are_refused(
    name: str, value: Any, better: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}.*{better}"):
        ClusterSessionMiddleware(bare_app(), **{name: value})


def test_the_names_of_starsessions_that_mean_the_same_are_understood() -> None:
    settings = ClusterSessionMiddleware(
        bare_app(), cookie_name="sid", cookie_same_site="strict", cookie_https_only=True,
        cookie_domain="example.org", cookie_path="/shop",
    ).runtime.settings  # fmt: skip
    assert (settings.cookie_name, settings.cookie_samesite) == ("sid", "strict")
    assert settings.cookie_secure
    assert (settings.cookie_domain, settings.cookie_path) == ("example.org", "/shop")


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

    def get(self, view: str, cookie: str | None = None) -> Answer:
        async def request() -> Answer:
            async with client_of(self._middleware) as client:
                headers = {} if cookie is None else {"Cookie": f"CLUSTERSESSION={cookie}"}
                response = await client.get(f"/{view}", headers=headers)
            return Answer(
                response.status_code, response.json(),
                tuple(response.headers.get_list("set-cookie")), response.headers.get("vary", ""),
            )

        return in_thread(request)

    def runtime(self) -> Runtime:
        return self._middleware.runtime


class TestContract(AdapterContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        served = ServedByStarlette(views, listeners)
        try:
            yield served
        finally:
            served.runtime().close()


async def bare_request(app: ClusterSessionMiddleware) -> list[Any]:
    """Serve one request without cookies; returns what was sent."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("nobody asks")

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "path": "/", "headers": []}, receive, send)
    return sent


async def test_whoever_replaces_the_session_by_nothing_has_looked_at_it(state: Any) -> None:
    async def forget(scope: Any, _: Any, send: Any) -> None:
        scope["session"] = None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    start = (await bare_request(ClusterSessionMiddleware(forget)))[0]
    assert start["headers"] == [(b"vary", b"Cookie")]


async def test_headers_may_go_out_after_the_application_has_returned(state: Any) -> None:
    late: list[Any] = []

    async def answer_later(scope: Any, _: Any, send: Any) -> None:
        async def answer() -> None:
            scope["session"]["n"] = 1
            await send({"type": "http.response.start", "status": 200, "headers": []})

        late.append(answer)

    sent = await bare_request(ClusterSessionMiddleware(answer_later))
    await late[0]()
    assert [name for name, _ in sent[0]["headers"]] == [b"set-cookie", b"vary"]
