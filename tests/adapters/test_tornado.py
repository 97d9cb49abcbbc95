"""Handlers of Tornado with the mixin."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, CookieJar
from tornado.web import Application, Finish, HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler

from clustersession.core.errors import ConfigurationError, SessionError
from clustersession.session.events import Events
from clustersession.tornado import ClusterSession, ClusterSessionMixin
from tests.adapters.contract import AdapterContract, Served, View
from tests.adapters.own_servers import ServedOnPort, in_own_thread, tornado_server


class ServedByTornado(ServedOnPort):
    def __init__(
        self, stack: ExitStack, views: Mapping[str, View], listeners: Events | None
    ) -> None:
        def handler(view: View) -> type[RequestHandler]:
            class Handler(ClusterSessionMixin, RequestHandler):
                def get(self) -> None:
                    found = view(self.session)
                    self.set_header("Content-Type", "application/json")
                    self.write(json.dumps(found))

            return Handler

        app = Application([(f"/{name}", handler(view)) for name, view in views.items()])
        extension = ClusterSession(app, listeners=listeners)
        port = stack.enter_context(in_own_thread(partial(tornado_server, app)))
        super().__init__(port, extension.runtime)


class TestContract(AdapterContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        with ExitStack() as stack:
            yield ServedByTornado(stack, views, listeners)


# --- what is its own ------------------------------------------------------------------------------


class Handler(ClusterSessionMixin, RequestHandler):
    """Is short for what each handler here is."""


class Read(Handler):
    def get(self) -> None:
        self.write(dict(self.session))


class Store(Handler):
    def get(self) -> None:
        self.session["cart"] = [1]
        self.write("ok")


@asynccontextmanager
async def browsing(
    *handlers: type[RequestHandler], settings: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[ClientSession]:
    """A browser of an application; each handler is at the path of its class's name."""
    app = Application(
        [(f"/{handler.__name__.lower()}", handler) for handler in (Read, Store, *handlers)],
        **(settings or {}),
    )
    ClusterSession(app, **options)
    async with tornado_server(app) as port:
        url, jar = f"http://127.0.0.1:{port}", CookieJar(unsafe=True)
        async with ClientSession(url, cookie_jar=jar) as client:
            yield client


async def stored(client: ClientSession) -> Any:
    async with client.get("/read") as response:
        assert response.status == 200
        return json.loads(await response.text())


async def until_stored(client: ClientSession, wanted: dict[str, Any]) -> None:
    """Wait for a commit that follows an answer."""
    async with asyncio.timeout(10):
        while await stored(client) != wanted:  # noqa: ASYNC110 - it follows the last byte
            await asyncio.sleep(0.01)


class LogIn(Handler):
    def get(self) -> None:
        self.session.rotate()
        self.session["user"] = self.session.principal = "ann"
        self.set_signed_cookie("other", "value")
        match self.get_argument("how"):
            case "redirect":
                self.redirect("/read")
            case "finish":
                self.finish("ok")
            case "render":
                self.finish({"ok": True})
            case "send_error":
                self.send_error(403)
            case "Finish":
                raise Finish("ok")
            case "HTTPError":
                raise HTTPError(403)


@pytest.mark.parametrize(
    "how", ["redirect", "finish", "render", "send_error", "Finish", "HTTPError", "return"]
)
async def test_every_answer_carries_the_cookie_beside_others(how: str) -> None:
    async with browsing(LogIn, settings={"cookie_secret": "of this test"}) as client:
        url = f"/login?how={how}"
        async with client.get(url, allow_redirects=False) as response:
            names = {
                value.partition("=")[0] for value in response.headers.getall("Set-Cookie")
            }
            # Tornado forgets no cookie with an error page either.
            assert names == {"CLUSTERSESSION", "other"}
            assert response.headers["Vary"] == "Cookie"
        assert await stored(client) == {"user": "ann"}


async def test_what_a_stream_changes_is_kept() -> None:
    class Stream(Handler):
        async def get(self) -> None:
            self.session["streamed"] = 1
            self.write("a")
            await self.flush()
            self.session["streamed"] = 2
            self.write("b")
            self.finish("c")
            self.session["streamed"] += 1

        def on_finish(self) -> None:
            self.session["finished"] = True

    class Hasty(Handler):
        def get(self) -> None:
            """Waits for nothing."""
            self.session["hasty"] = 1
            for part in "abc":
                self.write(part)
                self.flush()
            self.finish("d")

    async with browsing(Stream, Hasty) as client:
        assert await (await client.get("/stream")).text() == "abc"
        await until_stored(client, {"streamed": 3, "finished": True})
        assert await (await client.get("/hasty")).text() == "abcd"
        assert (await stored(client))["hasty"] == 1


async def test_a_handler_that_fails_commits_nothing() -> None:
    class Fail(Handler):
        def get(self) -> None:
            self.session["half"] = True
            raise ValueError

        def write_error(self, status_code: int, **kwargs: Any) -> None:
            self.session["failures"] = 1
            self.finish(f"sorry, {self.session.get('user', 'stranger')}")

    class FailLate(Handler):
        async def get(self) -> None:
            self.write("a")
            await self.flush()
            self.session["half"] = True
            raise ValueError

    async with browsing(Fail, FailLate) as client:
        async with client.get("/fail") as response:
            assert (response.status, await response.text()) == (500, "sorry, stranger")
            assert "Set-Cookie" not in response.headers
        await client.get("/store")
        assert (await client.get("/fail")).status == 500
        with suppress(ClientError):
            await (await client.get("/faillate")).read()
        assert await stored(client) == {"cart": [1]}


async def test_an_error_after_a_commit_had_begun_tells_the_new_id() -> None:
    class FlushAndFail(Handler):
        async def get(self) -> None:
            manager = self.settings["clustersession"].runtime.manager()
            save, committed = manager.save_async, asyncio.Event()

            async def save_slowly(visit: Any) -> None:
                await save(visit)
                committed.set()
                await asyncio.sleep(0.1)  # as a peer's confirmation takes

            manager.save_async = save_slowly
            self.session.rotate()
            self.write("x")
            self.flush()
            await committed.wait()
            raise RuntimeError("after all")

    async with browsing(FlushAndFail) as client:
        await client.get("/store")
        async with client.get("/flushandfail") as response:
            assert response.status == 500
            assert "Set-Cookie" in response.headers
        assert await stored(client) == {"cart": [1]}


async def test_what_cannot_be_stored_is_an_error_page() -> None:
    class Bad(Handler):
        def get(self) -> None:
            self.session["thing"] = object()

    class BadStream(Bad):
        async def get(self) -> None:
            super().get()
            self.write("x")
            await self.flush()

    async with browsing(Bad, BadStream) as client:
        for path in ("/bad", "/badstream"):
            async with client.get(path) as response:
                assert (response.status, "Internal" in await response.text()) == (500, True)
        assert await stored(client) == {}


class Prepared(Handler):
    def prepare(self) -> None:
        """Calls nothing of the mixin's."""
        self.session["prepared"] = self.session.get("prepared", 0) + 1

    async def get(self) -> None:
        await asyncio.sleep(0)
        self.write(dict(self.session))


async def test_a_handler_may_have_a_prepare_of_its_own() -> None:
    class Early(Prepared):
        async def prepare(self) -> None:
            super().prepare()
            await self.finish("early")

    async with browsing(Prepared, Early) as client:
        assert await (await client.get("/early")).text() == "early"
        assert json.loads(await (await client.get("/prepared")).text()) == {"prepared": 2}


async def test_clearing_its_cookie_ends_the_session() -> None:
    class Leave(Handler):
        def get(self) -> None:
            self.clear_all_cookies()
            if self.get_argument("again", ""):
                self.session["new"] = True

    async with browsing(Leave) as client:
        for query, left in (("", {}), ("?again=1", {"new": True})):
            cookie = (await client.get("/store")).cookies["CLUSTERSESSION"].value
            async with client.get(f"/leave{query}") as response:
                assert len(response.headers.getall("Set-Cookie")) == 1
            assert await stored(client) == left
            async with ClientSession(client._base_url) as other:
                headers = {"Cookie": f"CLUSTERSESSION={cookie}"}
                assert await (await other.get("/read", headers=headers)).text() == "{}"


class Talk(ClusterSessionMixin, WebSocketHandler):
    def prepare(self) -> None:
        self.session["greeted"] = True

    async def on_message(self, message: str | bytes) -> None:
        if message == "fail":
            raise ValueError
        self.session.setdefault("heard", []).append(message)
        if message == "save":
            await self.session.asave()
        await self.write_message("heard")

    def on_close(self) -> None:
        self.session["closed"] = True


async def test_a_websocket_commits_at_its_acceptance_on_demand_and_at_its_end() -> None:
    async with browsing(Talk) as client:
        async with client.ws_connect("/talk") as socket:
            assert await stored(client) == {"greeted": True}
            for text in ("one", "save", "two"):
                await socket.send_str(text)
                await socket.receive_str()
            assert (await stored(client))["heard"] == ["one", "save"]
        heard = ["one", "save", "two"]
        await until_stored(client, {"greeted": True, "heard": heard, "closed": True})


async def test_a_websocket_that_fails_commits_nothing_more() -> None:
    left = asyncio.Event()

    class Watched(Talk):
        def on_close(self) -> None:
            super().on_close()
            asyncio.get_running_loop().call_later(0.05, left.set)

    async with browsing(Watched) as client:
        async with client.ws_connect("/watched") as socket:
            await socket.send_str("one")
            await socket.receive_str()
            await socket.send_str("fail")
            await socket.receive()
        await asyncio.wait_for(left.wait(), 10)
        assert await stored(client) == {"greeted": True}


async def test_a_refused_handshake_is_an_answer_like_others() -> None:
    async with browsing(Talk) as client:
        async with client.get("/talk") as response:
            assert response.status == 400
            assert "Set-Cookie" in response.headers
        assert await stored(client) == {"greeted": True}


async def test_a_client_that_goes_away_loses_nothing() -> None:
    class Endless(Handler):
        async def get(self) -> None:
            while True:
                self.session["parts"] = True
                self.write("x" * 65536)
                await self.flush()

    async with browsing(Endless) as client:
        await client.get("/store")
        async with client.get("/endless") as response:
            await response.content.readany()
            response.close()
        await until_stored(client, {"cart": [1], "parts": True})


async def test_no_request_blocks_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Application([("/read", Read), ("/store", Store)])
    extension = ClusterSession(app)
    async with tornado_server(app) as port, ClientSession(
        f"http://127.0.0.1:{port}", cookie_jar=CookieJar(unsafe=True)
    ) as client:
        await client.get("/store")
        manager, waited = extension.runtime.manager(), list[str]()

        async def fetch(visit: Any) -> None:
            waited.append("fetch")
            visit.missing = False

        def refuse(*arguments: object) -> None:
            raise AssertionError("a call that blocks")

        for name in ("fetch", "save"):
            monkeypatch.setattr(manager, name, refuse)
        monkeypatch.setattr(manager, "fetch_async", fetch)
        monkeypatch.setattr(manager.replica, "get", lambda key: None)
        assert await stored(client) == {}
        assert waited == ["fetch"]
        assert (await client.get("/store")).status == 200


async def test_clients_without_cookies_are_told_in_the_header() -> None:
    async with browsing(header_name="X-Session") as client:
        response = await client.get("/store", headers={"X-Session": ""})
        assert "Set-Cookie" not in response.headers
        assert response.headers["Cache-Control"] == "no-store"
        headers = {"X-Session": response.headers["X-Session"]}
        async with client.get("/read", headers=headers) as found:
            assert json.loads(await found.text()) == {"cart": [1]}


async def test_paths_that_are_excluded_have_no_session() -> None:
    class Write(Handler):
        def get(self) -> None:
            with pytest.raises(SessionError, match="exclude"):
                self.session["a"] = 1
            self.write(dict(self.session))

    async with browsing(Write, exclude=["/writ."]) as client:
        await client.get("/store")
        assert await (await client.get("/write")).text() == "{}"
        assert await stored(client) == {"cart": [1]}


async def test_a_page_that_is_not_there_gets_nothing() -> None:
    async with browsing() as client:
        async with client.get("/absent") as response:
            assert (response.status, response.headers.get("Vary")) == (404, None)


async def test_a_page_about_a_wrong_xsrf_token_knows_the_user() -> None:
    class Page(Handler):
        def get(self) -> None:
            self.session["user"] = "ann"
            self.write(self.xsrf_token)

        def post(self) -> None:
            raise AssertionError

        def write_error(self, status_code: int, **kwargs: Any) -> None:
            self.finish(f"sorry, {self.session['user']}")

    async with browsing(Page, settings={"xsrf_cookies": True}) as client:
        await client.get("/page")
        async with client.post("/page") as response:
            assert (response.status, await response.text()) == (403, "sorry, ann")


async def test_a_session_before_prepare_is_the_same_one() -> None:
    class Early(Handler):
        def initialize(self) -> None:
            self.early = self.session

        def get(self) -> None:
            assert self.early is self.session
            self.early["early"] = True

    async with browsing(Early) as client:
        await client.get("/early")
        assert await stored(client) == {"early": True}


async def test_the_node_opens_when_it_is_told_to_and_closes_again() -> None:
    extension = ClusterSession(Application())
    assert extension.runtime._process is None
    extension.start()
    assert extension.runtime._process is not None
    extension.close()
    assert extension.runtime._process is None


@pytest.mark.parametrize(("options", "said"), [
    ({"rout": "a"}, "did you mean route"), ({"route": "not-a-route"}, "route"),
    ({"url_parameter": "jsessionid"}, "Tornado chooses the handler"),
])
def test_wrong_settings_are_refused_when_the_application_is_made(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ClusterSession(Application(), **options)


def test_an_application_has_one_extension() -> None:
    ClusterSession(app := Application())
    with pytest.raises(ConfigurationError, match="already"):
        ClusterSession(app, cookie_name="OTHER")


async def test_without_the_line_a_request_says_what_to_add(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Application([("/read", Read)])
    async with tornado_server(app) as port, ClientSession(f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/read")).status == 500
    assert "add them with ClusterSession(app" in caplog.text
