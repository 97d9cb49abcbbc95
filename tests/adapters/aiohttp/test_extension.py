"""aiohttp applications with the session of the cluster."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, CookieJar, web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from clustersession.aiohttp import ClusterSession, session_of
from clustersession.core.errors import ConfigurationError, SessionError
from clustersession.session.events import Events
from tests.adapters.aiohttp.client import Client, browsing
from tests.adapters.contract import AdapterContract, Served, View
from tests.adapters.own_servers import ServedOnPort, aiohttp_server, in_own_thread


class ServedByAiohttp(ServedOnPort):
    def __init__(
        self, stack: ExitStack, views: Mapping[str, View], listeners: Events | None
    ) -> None:
        app = web.Application()
        extension = ClusterSession(app, listeners=listeners)
        for name, view in views.items():
            app.router.add_get(f"/{name}", self._handler(view))
        port = stack.enter_context(in_own_thread(partial(aiohttp_server, app)))
        super().__init__(port, extension.runtime)

    def _handler(self, view: View) -> Any:
        async def handle(request: web.Request) -> web.Response:
            return web.json_response(view(session_of(request)))

        return handle


class TestContract(AdapterContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        with ExitStack() as stack:
            yield ServedByAiohttp(stack, views, listeners)


# --- what is its own ------------------------------------------------------------------------------


async def read(request: web.Request) -> web.Response:
    return web.json_response(dict(session_of(request)))


async def store(request: web.Request) -> web.Response:
    session_of(request)["cart"] = [1]
    return web.Response(text="ok")


def make_app(**handlers: Any) -> web.Application:
    """An application with the session; each handler is at the path of its name."""
    app = web.Application()
    for name, handler in {"read": read, "store": store, **handlers}.items():
        app.router.add_get(f"/{name}", handler)
    return app


async def stored(client: Client) -> Any:
    async with client.get("/read") as response:
        return await response.json()


async def until_stored(client: Client, wanted: dict[str, Any]) -> None:
    """Wait for a commit that follows an answer."""
    async with asyncio.timeout(10):
        while await stored(client) != wanted:  # noqa: ASYNC110 - it follows the last byte
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("answer", [web.HTTPFound("/read"), web.HTTPForbidden()])
async def test_an_answer_that_is_raised_carries_the_cookie(answer: web.HTTPException) -> None:
    async def log_in(request: web.Request) -> web.Response:
        session = session_of(request)
        session.rotate()
        session["user"] = session.principal = "ann"
        raise answer

    ClusterSession(app := make_app(log_in=log_in))
    async with browsing(app) as client:
        async with client.get("/log_in", allow_redirects=False) as response:
            assert response.status == answer.status
            assert response.headers["Set-Cookie"].startswith("CLUSTERSESSION=")
            assert response.headers["Vary"] == "Cookie"
        assert await stored(client) == {"user": "ann"}


async def test_what_a_stream_changes_is_kept() -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        session = session_of(request)
        session["streamed"] = 1
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        session["streamed"] = 2
        return response

    async def generate(request: web.Request) -> web.Response:
        session = session_of(request)

        async def body() -> AsyncIterator[bytes]:
            yield b"x"
            session["streamed"] = 3

        session["streamed"] = 1
        return web.Response(body=body())

    ClusterSession(app := make_app(stream=stream, generate=generate))
    async with browsing(app) as client:
        assert await (await client.get("/stream")).read() == b"x"
        assert await stored(client) == {"streamed": 2}
        assert await (await client.get("/generate")).read() == b"x"
        await until_stored(client, {"streamed": 3})


async def test_a_handler_that_fails_commits_nothing() -> None:
    async def fail(request: web.Request) -> web.Response:
        session_of(request)["half"] = True
        raise ValueError

    async def fail_late(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        session_of(request)["half"] = True
        raise ValueError

    extension = ClusterSession(app := make_app(fail=fail, fail_late=fail_late))
    async with browsing(app) as client:
        async with client.get("/fail") as response:
            assert (response.status, response.headers.getall("Set-Cookie", [])) == (500, [])
        await client.get("/store")
        before = extension.runtime.manager().replica.head()
        assert (await client.get("/fail")).status == 500
        with suppress(ClientError):
            await (await client.get("/fail_late")).read()
        assert await stored(client) == {"cart": [1]}
        assert extension.runtime.manager().replica.head() == before


async def test_what_cannot_be_stored_is_an_error_page() -> None:
    async def bad(request: web.Request) -> web.Response:
        session_of(request)["thing"] = object()
        return web.Response()

    async def bad_stream(request: web.Request) -> web.StreamResponse:
        session_of(request)["thing"] = object()
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    ClusterSession(app := make_app(bad=bad, bad_stream=bad_stream))
    async with browsing(app) as client:
        for path in ("/bad", "/bad_stream"):
            assert (await client.get(path)).status == 500
        assert await stored(client) == {}


async def test_a_websocket_commits_at_its_acceptance_on_demand_and_at_its_end() -> None:
    async def talk(request: web.Request) -> web.WebSocketResponse:
        session = session_of(request)
        session["greeted"] = True
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            session.setdefault("heard", []).append(message.data)
            if message.data == "save":
                await session.asave()
            await socket.send_str("heard")
        return socket

    ClusterSession(app := make_app(talk=talk))
    async with browsing(app) as client:
        async with client.ws_connect("/talk") as socket:
            assert await stored(client) == {"greeted": True}
            for text in ("one", "save", "two"):
                await socket.send_str(text)
                await socket.receive_str()
            assert (await stored(client))["heard"] == ["one", "save"]
        await until_stored(client, {"greeted": True, "heard": ["one", "save", "two"]})


async def test_a_client_that_goes_away_loses_nothing() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        session, response = session_of(request), web.StreamResponse()
        await response.prepare(request)
        while True:
            session["parts"] = True
            await response.write(b"x" * 65536)

    ClusterSession(app := make_app(endless=endless))
    async with browsing(app) as client:
        await client.get("/store")
        async with client.get("/endless") as response:
            await response.content.readany()
            response.close()
        await until_stored(client, {"cart": [1], "parts": True})


async def test_a_login_whose_client_goes_away_is_none_under_the_planted_id() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def login(request: web.Request) -> web.Response:
        session_of(request).rotate()
        session_of(request)["user"] = "ann"
        began.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        raise AssertionError

    ClusterSession(app := make_app(login=login))
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as victim:
            await victim.get(f"{base}/store")
            [planted] = [cookie.value for cookie in victim.cookie_jar]
            going = asyncio.create_task(victim.get(f"{base}/login"))
            await asyncio.wait_for(began.wait(), 10)
            going.cancel()
            await asyncio.wait_for(ended.wait(), 10)
        async with ClientSession() as holder, asyncio.timeout(10):
            seen: Any = {"cart": [1]}
            while seen == {"cart": [1]}:
                headers = {"Cookie": f"CLUSTERSESSION={planted}"}
                async with holder.get(f"{base}/read", headers=headers) as response:
                    seen = await response.json()
        assert seen == {}
    finally:
        await runner.cleanup()


async def test_a_middleware_around_with_a_task_of_its_own_loses_no_cookie() -> None:
    @web.middleware
    async def in_time(request: web.Request, handler: Any) -> web.StreamResponse:
        task = asyncio.create_task(handler(request))
        found: web.StreamResponse = await task
        return found

    ClusterSession(app := make_app())
    app.middlewares.insert(0, in_time)
    async with browsing(app) as client:
        assert "Set-Cookie" in (await client.get("/store")).headers
        assert await stored(client) == {"cart": [1]}


async def test_no_request_blocks_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    extension = ClusterSession(app := make_app())
    async with browsing(app) as client:
        await client.get("/store")
        manager, waited = extension.runtime.manager(), list[str]()

        async def fetch(visit: Any) -> None:
            waited.append("fetch")
            visit.missing = False

        def refuse(*arguments: object) -> None:
            raise AssertionError("a call that blocks")

        for name in ("fetch", "save", "commit"):
            monkeypatch.setattr(manager, name, refuse)
        monkeypatch.setattr(manager, "fetch_async", fetch)
        monkeypatch.setattr(manager.replica, "get", lambda key: None)
        assert await stored(client) == {}
        assert waited == ["fetch"]
        assert (await client.get("/store")).status == 200


async def test_clients_without_cookies_are_told_in_the_header() -> None:
    ClusterSession(app := make_app(), header_name="X-Session")
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/store", headers={"X-Session": ""})
        assert "Set-Cookie" not in response.headers
        assert response.headers["Cache-Control"] == "no-store"
        headers = {"X-Session": response.headers["X-Session"]}
        assert await (await client.get("/read", headers=headers)).json() == {"cart": [1]}


async def test_paths_that_are_excluded_have_no_session() -> None:
    async def write(request: web.Request) -> web.Response:
        try:
            session_of(request)["a"] = 1
        except SessionError as error:
            return web.Response(text=str(error))
        raise AssertionError

    app = make_app()
    app.router.add_get("/static/read", read)
    app.router.add_get("/static/write", write)
    ClusterSession(app, exclude=["/static/.*"])
    async with browsing(app) as client:
        await client.get("/store")
        assert await (await client.get("/static/read")).json() == {}
        assert "exclude" in await (await client.get("/static/write")).text()
        assert await stored(client) == {"cart": [1]}


async def test_a_page_that_is_not_there_gets_nothing() -> None:
    ClusterSession(app := make_app())
    async with browsing(app) as client:
        async with client.get("/absent") as response:
            assert (response.status, response.headers.get("Vary")) == (404, None)


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("inner", [True, False])
async def test_an_application_inside_another_one_has_one_session_with_it(
    outer: bool, inner: bool
) -> None:
    app, inside = make_app(), make_app()
    heard: list[str] = []
    extensions = [
        ClusterSession(it) for it, wanted in ((app, outer), (inside, inner)) if wanted
    ]
    for extension in extensions:
        extension.on("created", lambda event: heard.append(event.kind))
    app.add_subapp("/in", inside)
    async with browsing(app) as client:
        async with client.get("/in/store") as response:
            assert response.status == (200 if extensions else 500)
            assert len(response.headers.getall("Set-Cookie", ())) == bool(extensions)
        if extensions:
            assert await (await client.get("/in/read")).json() == {"cart": [1]}
            assert len(heard) == len(extensions)
        assert (await client.get("/read")).status == (200 if outer else 500)


async def test_an_application_inside_with_another_cookie_takes_no_session_away() -> None:
    @web.middleware
    async def count(request: web.Request, handler: Any) -> Any:
        answer = await handler(request)
        session_of(request)["pages"] = session_of(request).get("pages", 0) + 1
        return answer

    app, inside = make_app(), make_app()
    ClusterSession(app)
    app.middlewares.append(count)
    ClusterSession(inside, cookie_name="INSIDE")
    app.add_subapp("/in", inside)
    async with browsing(app) as client:
        await client.get("/in/store")
        assert await stored(client) == {"pages": 1}
        async with client.get("/in/read") as response:
            assert await response.json() == {"cart": [1]}


async def test_an_error_between_the_commit_and_the_headers_tells_the_new_id() -> None:
    async def login(request: web.Request) -> web.StreamResponse:
        session_of(request).rotate()
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    async def fail(request: web.Request, response: web.StreamResponse) -> None:
        if request.path == "/login" and response.status == 200:
            raise RuntimeError("of another extension")

    app = make_app(login=login)
    ClusterSession(app)
    app.on_response_prepare.append(fail)
    async with browsing(app) as client:
        async with client.get("/store") as response:
            cookie = response.cookies["CLUSTERSESSION"].value
        # By hand: aiohttp's client refuses what its server makes of the body.
        reader, writer = await asyncio.open_connection(client.host, client.port)
        line = f"GET /login HTTP/1.1\r\nHost: a\r\nCookie: CLUSTERSESSION={cookie}\r\n\r\n"
        writer.write(line.encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.close()
        assert head.startswith(b"HTTP/1.1 500")
        assert head.count(b"Set-Cookie: CLUSTERSESSION=") == 1


def test_an_application_has_one_extension() -> None:
    ClusterSession(app := web.Application())
    with pytest.raises(ConfigurationError, match="already"):
        ClusterSession(app, cookie_name="OTHER")


async def test_other_settings_inside_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    app, inside = make_app(), make_app()
    ClusterSession(app, idle_timeout_s=60)
    ClusterSession(inside, idle_timeout_s=120)
    app.add_subapp("/in", inside)
    async with browsing(app) as client:
        assert (await client.get("/in/read")).status == 500
        assert "idle_timeout_s is 60.0 outside and 120.0 inside" in caplog.text
        assert (await client.get("/read")).status == 200


async def test_the_node_opens_when_the_server_starts_and_closes_with_it() -> None:
    extension = ClusterSession(app := make_app())
    async with browsing(app):
        assert extension.runtime._process is not None
    assert extension.runtime._process is None


@pytest.mark.parametrize(("options", "said"), [
    ({"rout": "a"}, "did you mean route"), ({"route": "not-a-route"}, "route"),
    ({"url_parameter": "jsessionid"}, "aiohttp chooses the route"),
])
def test_wrong_settings_are_refused_when_the_application_is_made(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ClusterSession(web.Application(), **options)


async def test_without_the_line_a_request_says_what_to_add() -> None:
    with pytest.raises(RuntimeError, match=r"ClusterSession\(app"):
        session_of(make_mocked_request("GET", "/"))
