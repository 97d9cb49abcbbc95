"""Quart applications that do not notice the difference."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import pytest
from markupsafe import Markup
from quart import (
    Quart,
    Response,
    flash,
    get_flashed_messages,
    jsonify,
    session,
    stream_with_context,
    websocket,
)
from quart.signals import appcontext_tearing_down
from quart.testing import WebsocketResponseError

from clustersession.core.errors import ConfigurationError, UnserializableValue
from clustersession.quart import ClusterSession
from clustersession.session.events import Events
from clustersession.session.visit import Visit, visit_of
from clustersession.worker.runtime import Runtime
from tests.adapters.contract import COOKIE_NAME, AdapterContract, Answer, Served, View, in_thread

_made: list[Quart] = []


def runtime_of(app: Quart) -> Runtime:
    found: Runtime = app.session_interface.runtime(app)  # type: ignore[attr-defined]
    return found


class ServedByQuart(Served):
    def __init__(self, views: Mapping[str, View], listeners: Events | None = None) -> None:
        self.app = Quart(__name__)
        self.app.config.update(SECRET_KEY="a key of the application")
        ClusterSession(self.app, listeners=listeners)
        for name, view in views.items():
            self.app.add_url_rule(f"/{name}", name, self._handler(view))

    def _handler(self, view: View) -> Any:
        async def handle() -> Response:
            return jsonify(view(session))

        return handle

    def get(self, view: str, cookie: str | None = None) -> Answer:
        async def ask() -> Answer:
            client = self.app.test_client(use_cookies=False)
            headers = {"Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else {}
            response = await client.get(f"/{view}", headers=headers)
            return Answer(
                response.status_code, await response.get_json(),
                tuple(response.headers.getlist("Set-Cookie")), response.headers.get("Vary", ""),
            )

        return in_thread(ask)

    def runtime(self) -> Runtime:
        return runtime_of(self.app)


class TestContract(AdapterContract):
    # Quart 0.23 looks at the session itself, by what applications look at it with.
    varies_untouched = tuple(map(int, version("quart").split(".")[:2])) >= (0, 23)

    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        served = ServedByQuart(views, listeners)
        try:
            yield served
        finally:
            served.runtime().close()

    def log_out(self, session: Any) -> None:
        session.clear()


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while _made:
        app = _made.pop()
        runtime_of(app).close()


def make_app(**config: Any) -> Quart:
    app = Quart(__name__)
    app.config.update({"SECRET_KEY": "a key of the application", "TESTING": True, **config})
    ClusterSession(app)
    _made.append(app)

    @app.get("/read")
    async def read() -> dict[str, Any]:
        return dict(session)

    @app.get("/set")
    async def set_value() -> str:
        session["cart"] = [1]
        return "ok"

    @app.get("/sync")
    def set_in_a_thread() -> str:
        session["sync"] = 1
        return "ok"

    @app.get("/permanent")
    async def permanent() -> str:
        session.permanent = True
        session["a"] = 1
        return "ok"

    @app.get("/flash")
    async def make_flash() -> str:
        await flash("plain")
        await flash(Markup("<b>bold</b>"), "note")
        return "ok"

    @app.get("/flashed")
    async def flashed() -> str:
        messages = get_flashed_messages(with_categories=True)
        return "|".join(f"{type(text).__name__}:{category}" for category, text in messages)

    @app.get("/bad")
    async def bad() -> str:
        session["thing"] = object()
        return "ok"

    @app.get("/stream")
    async def stream() -> Response:
        @stream_with_context
        async def body() -> AsyncIterator[str]:
            session["streamed"] = 1
            yield "x"
            session["streamed"] = 2
            yield "y"

        return Response(body())

    @app.get("/fails")
    async def fails() -> str:
        session["before the failure"] = 1
        raise ZeroDivisionError

    @app.websocket("/ws")
    async def talk() -> None:
        session["greeted"] = True
        while True:
            text = await websocket.receive()
            session.setdefault("heard", []).append(text)
            if text == "save":
                await session.asave()  # type: ignore[attr-defined]
            if text == "bye":
                return
            await websocket.send(f"heard {text}")

    @app.websocket("/refused")
    async def refused() -> tuple[str, int]:
        session["refused"] = True
        return "no", 403

    return app


async def test_the_session_works_as_ever() -> None:
    client = make_app().test_client()
    assert "Set-Cookie" not in (await client.get("/read")).headers
    header = (await client.get("/set")).headers["Set-Cookie"]
    assert header.startswith("CLUSTERSESSION=")
    assert header.endswith(".a; Path=/; HttpOnly; SameSite=Lax")
    response = await client.get("/read")
    assert await response.get_json() == {"cart": [1]}
    assert "Set-Cookie" not in response.headers
    assert response.headers["Vary"] == "Cookie"
    await client.get("/sync")
    assert (await (await client.get("/read")).get_json())["sync"] == 1


async def test_flash_keeps_tuples_and_markup() -> None:
    client = make_app().test_client()
    await client.get("/flash")
    assert await (await client.get("/flashed")).get_data(as_text=True) == "str:message|Markup:note"
    assert await (await client.get("/flashed")).get_data(as_text=True) == ""


async def test_session_transaction() -> None:
    client = make_app().test_client()
    async with client.session_transaction() as transaction:
        transaction["cart"] = ["from the test"]
    async with client.session_transaction() as transaction:
        transaction["cart"].append(1)
    assert await (await client.get("/read")).get_json() == {"cart": ["from the test", 1]}


async def test_settings_of_quart() -> None:
    client = make_app(
        SESSION_COOKIE_NAME="mine", SESSION_COOKIE_SECURE=True, SESSION_COOKIE_PARTITIONED=True,
        PERMANENT_SESSION_LIFETIME=timedelta(days=31),
    ).test_client()  # fmt: skip
    header = (await client.get("/permanent")).headers["Set-Cookie"]
    assert header.startswith("mine=")
    assert header.endswith(
        "; Max-Age=2678400; Path=/; Secure; HttpOnly; SameSite=Lax; Partitioned"
    )


async def test_what_a_stream_changes_is_kept() -> None:
    client = make_app().test_client()
    await client.get("/set")
    assert await (await client.get("/stream")).get_data(as_text=True) == "xy"
    assert await (await client.get("/read")).get_json() == {"cart": [1], "streamed": 2}


async def test_changes_are_kept_with_an_error_page() -> None:
    app = make_app(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    client = app.test_client()
    assert (await client.get("/fails")).status_code == 500
    assert await (await client.get("/read")).get_json() == {"before the failure": 1}


async def test_what_cannot_be_stored() -> None:
    client = make_app().test_client()
    try:
        response = await client.get("/bad")
    except UnserializableValue as error:  # Quart before 0.21 hands it on to a test
        said = str(error)
    else:  # and newer ones show it as a page
        assert response.status_code == 500
        said = await response.get_data(as_text=True)
    assert "which no session can carry" in said


async def test_no_request_blocks_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    cookie = await existing(app)
    manager = runtime_of(app).manager()
    waited: list[str] = []

    async def fetch(visit: Any) -> None:
        waited.append("fetch")
        visit.missing = False

    def refuse(*arguments: object) -> None:
        raise AssertionError("a call that blocks")

    for name in ("fetch", "save", "commit"):
        monkeypatch.setattr(manager, name, refuse)
    monkeypatch.setattr(manager, "fetch_async", fetch)
    monkeypatch.setattr(manager.replica, "get", lambda key: None)
    assert await heard(app, cookie) == {}
    assert waited == ["fetch"]
    assert (await app.test_client().get("/set")).status_code == 200


async def heard(app: Quart, cookie: str) -> dict[str, Any]:
    response = await app.test_client(use_cookies=False).get(
        "/read", headers={"Cookie": f"{COOKIE_NAME}={cookie}"}
    )
    found: dict[str, Any] = await response.get_json()
    return found


async def existing(app: Quart) -> str:
    header = (await app.test_client().get("/set")).headers["Set-Cookie"]
    return header.removeprefix(f"{COOKIE_NAME}=").partition(";")[0]


@contextmanager
def told_of_the_end_or_not() -> Iterator[None]:
    """Quart's test client raises that the server has closed, but for that of Quart 0.23."""
    try:
        yield
    except Exception as error:
        if str(error) != "1000":
            raise


async def test_a_websocket_commits_at_accept_on_demand_and_at_its_end() -> None:
    app = make_app()
    cookie = await existing(app)
    client = app.test_client(use_cookies=False)
    with told_of_the_end_or_not():
        async with client.websocket("/ws", headers={"Cookie": f"{COOKIE_NAME}={cookie}"}) as talk:
            await talk.send("one")
            await talk.receive()
            assert await heard(app, cookie) == {"cart": [1], "greeted": True}
            await talk.send("save")
            await talk.receive()
            assert (await heard(app, cookie))["heard"] == ["one", "save"]
            await talk.send("bye")
            async with asyncio.timeout(20):
                while len((await heard(app, cookie))["heard"]) < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    assert (await heard(app, cookie))["heard"] == ["one", "save", "bye"]


async def test_a_client_that_goes_away_loses_nothing() -> None:
    app = make_app()
    cookie = await existing(app)
    client = app.test_client(use_cookies=False)
    async with client.websocket("/ws", headers={"Cookie": f"{COOKIE_NAME}={cookie}"}) as talk:
        await talk.send("one")
        await talk.receive()
    assert (await heard(app, cookie))["heard"] == ["one"]


async def test_a_login_whose_client_goes_away_is_none_under_the_planted_id() -> None:
    app = make_app()
    running = asyncio.Event()

    @app.get("/login")
    async def login() -> str:
        cast(Any, session).rotate()
        session["user"] = "ann"
        running.set()
        await asyncio.sleep(30)
        raise AssertionError

    planted = await existing(app)
    headers = {"Cookie": f"{COOKIE_NAME}={planted}"}
    request = app.test_client(use_cookies=False).request("/login", headers=headers)
    async with request as connection:
        await connection.send_complete()
        await asyncio.wait_for(running.wait(), 10)
        await connection.disconnect()
    assert not await heard(app, planted)


async def test_a_session_that_begins_in_a_handshake_gets_its_cookie() -> None:
    app = make_app()
    sent: list[dict[str, Any]] = []
    to_come = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "bye"}]
    done = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if to_come:
            return to_come.pop(0)
        await done.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "websocket.close":
            done.set()

    scope = {
        "type": "websocket", "asgi": {"spec_version": "2.3"}, "http_version": "1.1",
        "scheme": "ws", "path": "/ws", "query_string": b"", "headers": [], "subprotocols": [],
    }  # fmt: skip
    await app(scope, receive, send)  # type: ignore[arg-type]
    accept = next(message for message in sent if message["type"] == "websocket.accept")
    ((_, value),) = [pair for pair in accept["headers"] if pair[0] == b"set-cookie"]
    cookie = value.decode().removeprefix(f"{COOKIE_NAME}=").partition(";")[0]
    assert await heard(app, cookie) == {"greeted": True, "heard": ["bye"]}


async def test_a_refused_handshake_commits_with_its_response() -> None:
    app = make_app()
    cookie = await existing(app)
    client = app.test_client(use_cookies=False)
    with pytest.raises(WebsocketResponseError):
        async with client.websocket(
            "/refused", headers={"Cookie": f"{COOKIE_NAME}={cookie}"}
        ) as talk:
            await talk.receive()
    assert (await heard(app, cookie))["refused"] is True


async def test_the_node_opens_when_the_server_starts_and_closes_with_it() -> None:
    app = make_app()
    runtime = runtime_of(app)
    async with app.test_app():
        assert runtime._process is not None
    assert runtime._process is None


async def test_wrong_settings_keep_the_server_from_starting() -> None:
    app = Quart(__name__)
    ClusterSession(app, route="not-a-route")
    with pytest.raises(ConfigurationError, match="route"):
        await app.startup()


def test_what_is_wrong_already_is_refused_when_the_extension_is_made() -> None:
    with pytest.raises(ConfigurationError, match="did you mean route"):
        ClusterSession(Quart(__name__), rout="a")


async def test_what_begins_after_a_websocket_that_was_never_accepted_is_not_stored() -> None:
    app = make_app()
    kept: list[Any] = []
    to_come = [{"type": "websocket.connect"}]

    @app.websocket("/left")
    async def leave() -> None:
        session.get("greeted")
        kept.append(session._get_current_object())  # type: ignore[attr-defined]

    over = asyncio.Event()

    async def note_the_end(*_: Any, **__: Any) -> None:
        over.set()

    appcontext_tearing_down.connect(note_the_end, app)

    async def receive() -> dict[str, Any]:
        if not to_come:
            await over.wait()
            return {"type": "websocket.disconnect", "code": 1000}
        return to_come.pop()

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "websocket", "asgi": {"spec_version": "2.3"}, "http_version": "1.1",
        "scheme": "ws", "path": "/left", "query_string": b"", "headers": [], "subprotocols": [],
    }  # fmt: skip
    await app(scope, receive, send)  # type: ignore[arg-type]
    kept[0]["late"] = True
    await kept[0].asave()
    assert kept[0].sid is None


async def test_an_excluded_path_is_served_where_no_node_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    app = Quart("excluding")
    ClusterSession(app, exclude=["/static/.*"], state_dir=str(tmp_path / "file"))
    app.add_url_rule("/static/style", "style", lambda: "ok")
    assert (await app.test_client().get("/static/style")).status_code == 200


async def test_a_request_that_fails_lets_go_of_its_session() -> None:
    app = make_app()
    kept: list[Visit] = []

    @app.get("/breaks")
    async def breaks() -> str:
        session["a"] = 1
        kept.append(visit_of(session))  # type: ignore[arg-type]
        raise RuntimeError("failed")

    @app.websocket("/breaks_too")
    async def breaks_too() -> None:
        session["a"] = 1
        kept.append(visit_of(session))  # type: ignore[arg-type]
        raise RuntimeError("failed")

    app.testing = True
    client = app.test_client()
    with suppress(RuntimeError):
        await client.get("/breaks")
    # The test client of Quart 0.20 does not notice that the handler of a websocket has failed.
    with suppress(RuntimeError, WebsocketResponseError, TimeoutError):
        async with asyncio.timeout(5), client.websocket("/breaks_too") as opened:
            await opened.receive()
    assert ["session" in visit.__dict__ for visit in kept] == [False, False]
