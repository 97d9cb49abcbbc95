"""Bare ASGI applications over a real replica, and the options of the middleware."""

import asyncio
import gc
import json
from pathlib import Path
from typing import Any
from weakref import ref

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from clustersession.asgi import ClusterSessionMiddleware
from clustersession.core.errors import ConfigurationError
from clustersession.session.visit import Visit, visit_of
from clustersession.worker.local_only import LocalOnly
from tests.adapters.asgi_apps import bare_app, client_of, make_app
from tests.adapters.ways_to_read import BY_NAME, BY_PYTHON, looked_at


def test_an_unknown_option_is_refused_at_once() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="cookie_name"):
        ClusterSessionMiddleware(app, cookie_nam="x")


async def test_an_unknown_option_is_refused_at_once_in_a_loop_too() -> None:
    """As where uvicorn imports an application: only in a call of one it would be lost."""
    with pytest.raises(ConfigurationError, match="cookie_name"):
        ClusterSessionMiddleware(bare_app(), cookie_nam="x")


async def test_what_a_framework_makes_in_a_call_fails_the_start_or_else_each_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await ClusterSessionMiddleware(bare_app(), cookie_nam="x")(scope, receive, send)

    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(ConfigurationError, match="cookie_name"):
        await app({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "cookie_name" in sent.pop()["message"]
    scope = {"type": "http", "path": "/", "headers": [], "method": "GET"}
    await app(scope, receive, send)
    assert sent[0]["status"] == 500
    assert "cookie_nam" not in str(sent)
    sent.clear()
    await app({**scope, "type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1011}]
    assert "did you mean cookie_name" in caplog.text


@pytest.mark.parametrize(
    ("outer", "inner", "word"),
    [({}, {"idle_timeout_s": 100}, "idle_timeout_s is"), ({}, {"idle_timeout_s": -5}, "-5")],
)
def test_two_that_a_framework_puts_into_one_another_fail_the_start_by_the_first_error(
    outer: dict[str, Any], inner: dict[str, Any], word: str
) -> None:
    app = Starlette(middleware=[
        Middleware(ClusterSessionMiddleware, **options)  # type: ignore[arg-type]
        for options in (outer, inner)
    ])
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(ConfigurationError, match=word):
        asyncio.run(app({"type": "lifespan"}, receive, send))  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert word in sent[0]["message"]


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


async def test_a_path_that_leads_elsewhere_without_the_id_is_refused() -> None:
    middleware = ClusterSessionMiddleware(bare_app(), url_parameter="jsessionid")
    async with client_of(middleware) as client:
        for path in ("/public/%2e%2e;jsessionid=x/admin", "/;jsessionid=x/evil.example"):
            response = await client.get(path)
            assert (response.status_code, "jsessionid" in response.text) == (400, True), path
            assert "set-cookie" not in response.headers
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/public/..;jsessionid=x/admin", "headers": []}
    await middleware(scope, None, send)  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == ["websocket.close"]
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


@pytest.mark.parametrize(("name", "value", "better"), [
    ("store", object(), "distributable"), ("store", "memory", "valkey://"),
    ("rolling", True, "idle_timeout_s"), ("serializer", "json", "register"),
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


async def test_whoever_looks_at_a_bare_session_has_the_response_vary() -> None:
    ways = {f"/{number}": way for number, way in enumerate((BY_NAME | BY_PYTHON).values())}
    names = dict(zip(ways, BY_NAME | BY_PYTHON, strict=True))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] in ways:
            looked_at(ways[scope["path"]])(scope["session"])
        elif scope["path"] == "/begin":
            scope["session"]["user"] = "ann"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    middleware = ClusterSessionMiddleware(app)
    async with client_of(middleware) as client:
        assert "vary" not in (await client.get("/nothing")).headers
        for path, name in names.items():
            client.cookies.clear()
            assert (await client.get(path)).headers.get("vary") == "Cookie", f"{name} of nothing"
            await client.get("/begin")
            assert (await client.get(path)).headers.get("vary") == "Cookie", f"{name} of a session"
    middleware.runtime.close()


async def test_a_request_that_fails_keeps_no_session() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["a"] = 1
        kept.append(ref(visit_of(scope["session"])))
        raise RuntimeError("failed")

    kept: list[ref[Visit]] = []
    middleware = ClusterSessionMiddleware(app)
    gc.disable()
    try:
        async with client_of(middleware) as client:
            with pytest.raises(RuntimeError, match="failed"):
                await client.get("/")
        assert [gone() for gone in kept] == [None]
    finally:
        gc.enable()
    middleware.runtime.close()


async def test_a_logout_waits_for_the_disk_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where ``ack`` waits for nobody: an end is on the disk before it is answered."""
    waited: list[str] = []

    def blocks(self: LocalOnly, head: int, stored: object = (), *, ends: bool = False) -> bool:
        waited.extend(["blocking"] * ends)
        return True

    async def waits(
        self: LocalOnly, head: int, stored: object = (), *, ends: bool = False
    ) -> bool:
        waited.extend(["in turn"] * ends)
        return True

    monkeypatch.setattr(LocalOnly, "confirm", blocks)
    monkeypatch.setattr(LocalOnly, "confirm_async", waits)
    app = make_app(secret="s" * 32, state_dir=str(tmp_path), durability="second")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("/set", "/login", "/logout"):
            assert (await client.post(path, json={"a": 1})).status_code == 200
    assert waited == ["in turn", "in turn"]
