"""Adapters of ours inside one another: one session, one cookie, answered by the outermost."""

import asyncio
import json
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import flask
import httpx
import pytest
import quart
from asgiref.wsgi import WsgiToAsgi
from litestar import Litestar, Request, route
from pyramid.config import Configurator
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from werkzeug.test import Client

from clustersession import asgi, wsgi
from clustersession import flask as our_flask
from clustersession import quart as our_quart
from clustersession.beaker import SessionMiddleware
from clustersession.core.errors import ConfigurationError
from clustersession.litestar import ClusterSessionPlugin
from clustersession.pyramid import ClusterSessionFactory
from clustersession.requests import opening
from clustersession.session.events import Event, Events

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.middleware.wsgi import WSGIMiddleware

# asgiref warns of a ``send`` that is no coroutine function, and awaits what it returns.
pytestmark = pytest.mark.filterwarnings("ignore:async_to_sync was passed")

PATHS = ("login", "who", "clear", "end", "nothing")
App = Any


def act(session: Any, path: str) -> dict[str, Any]:
    """What every application here does at the end of such a path."""
    match path.rpartition("/")[2]:
        case "login":
            session.rotate()
            session.principal = session["user"] = "ann"
        case "clear":
            session.clear()
        case "end":
            session.invalidate()
        case "nothing":
            return {}
    return {"user": session.get("user"), "principal": session.principal}


# --- applications inside --------------------------------------------------------------------------


def plain_asgi(**options: Any) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = json.dumps(act(scope["session"], scope["path"])).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return asgi.ClusterSessionMiddleware(app, **options)


def in_starlette(**options: Any) -> App:
    async def page(request: Any) -> JSONResponse:
        return JSONResponse(act(request.session, request.url.path))

    return Starlette(
        routes=[Mount("/in", Starlette(
            routes=[Route("/{name}", page)],
            middleware=[Middleware(asgi.ClusterSessionMiddleware, **options)],
        ))]
    )  # fmt: skip


def in_litestar(**options: Any) -> App:
    @route([f"/in/{name}" for name in PATHS], http_method=["GET"])
    async def page(request: Request[Any, Any, Any]) -> dict[str, Any]:
        return act(request.session, request.url.path)

    return Litestar([page], plugins=[ClusterSessionPlugin(**options)])


def in_quart(**options: Any) -> App:
    app = quart.Quart(__name__)
    app.config["SECRET_KEY"] = "a key of the application"
    our_quart.ClusterSession(app, **options)

    @app.get("/in/<name>")
    async def page(name: str) -> dict[str, Any]:
        return act(quart.session, name)

    return app


def plain_wsgi(**options: Any) -> App:
    def app(environ: Any, start_response: Any) -> Any:
        body = json.dumps(act(environ["clustersession.session"], environ["PATH_INFO"])).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]

    return wsgi.ClusterSessionMiddleware(app, **options)


def in_flask(**options: Any) -> App:
    app = flask.Flask(__name__)
    app.config["SECRET_KEY"] = "a key of the application"
    our_flask.ClusterSession(app, **options)

    @app.get("/in/<name>")
    def page(name: str) -> dict[str, Any]:
        return act(flask.session, name)

    @app.get("/in/stream")
    def stream() -> flask.Response:
        def body() -> Iterator[str]:
            flask.session["streamed"] = True
            yield "x"

        return flask.Response(flask.stream_with_context(body()))

    return app


def in_pyramid(**options: Any) -> App:
    def page(request: Any) -> dict[str, Any]:
        return act(request.session, request.path)

    with Configurator() as config:
        config.include(ClusterSessionFactory(**options).add_to)
        config.add_route("in", "/in/{name}")
        config.add_view(page, route_name="in", renderer="json")
        return config.make_wsgi_app()


def in_beaker(**options: Any) -> App:
    def app(environ: Any, start_response: Any) -> Any:
        session = environ["beaker.session"]
        match environ["PATH_INFO"]:
            case "/in/login":
                session.regenerate_id()
                session.principal = session["user"] = "ann"
            case "/in/clear" | "/in/end":
                session.delete()
        found = {}
        if environ["PATH_INFO"] != "/in/nothing":
            session.save()
            found = {"user": session.get("user"), "principal": session.principal}
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(found).encode()]

    return SessionMiddleware(app, **options)


ASGI = {"asgi": plain_asgi, "starlette": in_starlette, "litestar": in_litestar, "quart": in_quart}
WSGI = {"wsgi": plain_wsgi, "flask": in_flask, "pyramid": in_pyramid, "beaker": in_beaker}
BRIDGES: dict[str, Callable[[Any], Any]] = {"starlette": WSGIMiddleware, "asgiref": WsgiToAsgi}


# --- and around them ------------------------------------------------------------------------------


def around(inner: App, **options: Any) -> asgi.ClusterSessionMiddleware:
    own = plain_asgi().app

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (inner if scope["path"].startswith("/in") else own)(scope, receive, send)

    return asgi.ClusterSessionMiddleware(app, **options)


def around_wsgi(inner: App, **options: Any) -> wsgi.ClusterSessionMiddleware:
    own = plain_wsgi().app

    def app(environ: Any, start_response: Any) -> Any:
        chosen = inner if environ["PATH_INFO"].startswith("/in") else own
        return chosen(environ, start_response)

    return wsgi.ClusterSessionMiddleware(app, **options)


Get = Callable[..., tuple[dict[str, Any], list[str]]]


@contextmanager
def serving(outer: Any) -> Iterator[Get]:
    """Sends requests, and returns what came as JSON and as Set-Cookie."""
    headers: dict[str, str] = {}
    client: Any
    if isinstance(outer, asgi.ClusterSessionMiddleware):
        client = TestClient(outer)
    else:
        client = Client(outer)

    def get(path: str, **more: Any) -> tuple[dict[str, Any], list[str]]:
        response = client.get(path, headers={**headers, **more.pop("headers", {})}, **more)
        assert response.status_code == 200, response.text
        found = response.json() if callable(response.json) else response.json
        values = response.headers
        return found, getattr(values, "get_list", getattr(values, "getlist", None))("set-cookie")

    try:
        yield get
    finally:
        outer.runtime.close()


NESTS: dict[str, Callable[..., Any]] = {
    **{f"{name} in asgi": lambda make=make, **o: around(make(**o), **o)
       for name, make in ASGI.items()},
    **{f"{name} in {bridge} in asgi": lambda make=make, to=to, **o: around(to(make(**o)), **o)
       for name, make in WSGI.items() for bridge, to in BRIDGES.items()},
    **{f"{name} in wsgi": lambda make=make, **o: around_wsgi(make(**o), **o)
       for name, make in WSGI.items()},
    "flask in wsgi in asgi":
        lambda **o: around(WSGIMiddleware(around_wsgi(in_flask(**o), **o)), **o),
}


@pytest.fixture(params=NESTS)
def nest(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return NESTS[request.param]


def test_both_applications_have_one_session(nest: Callable[..., Any]) -> None:
    with serving(outer := nest()) as get:
        found, cookies = get("/in/login")
        assert found == {"user": "ann", "principal": "ann"}
        assert len(cookies) == 1
        assert get("/who") == (found, [])
        assert get("/in/who") == (found, [])
        assert len(outer.runtime.sessions().sessions_of("ann")) == 1
        assert outer.runtime.sessions().end_all("ann") == 1
        nobody = {"user": None, "principal": None}
        assert get("/who")[0] == nobody
        assert get("/in/who")[0] == nobody


def test_a_login_outside_is_one_inside(nest: Callable[..., Any]) -> None:
    with serving(nest()) as get:
        _, before = get("/login")
        assert get("/in/who") == ({"user": "ann", "principal": "ann"}, [])
        _, after = get("/in/login")
        assert len(after) == 1
        assert after != before
        assert get("/who")[0]["user"] == "ann"


@pytest.mark.parametrize("how", ["/in/end", "/end"])
def test_a_logout_is_one_for_both(nest: Callable[..., Any], how: str) -> None:
    with serving(nest()) as get:
        get("/in/login")
        _, cookies = get(how)
        assert len(cookies) == 1
        assert "Max-Age=0" in cookies[0]
        assert get("/who")[0]["user"] is get("/in/who")[0]["user"] is None


def test_clear_means_what_it_means_to_the_application_inside(nest: Callable[..., Any]) -> None:
    with serving(nest()) as get:
        get("/in/login")
        get("/in/clear")
        assert get("/in/who")[0]["user"] is None
        assert get("/who")[0]["user"] is None


def test_a_request_that_looks_at_nothing_gets_nothing(nest: Callable[..., Any]) -> None:
    with serving(nest()) as get:
        assert get("/in/nothing") == ({}, [])


def test_clients_without_cookies_have_one_session_too(nest: Callable[..., Any]) -> None:
    outer = nest(header_name="X-Session")
    with serving(outer) as get:
        client: Any = TestClient(outer) if hasattr(outer, "_serve_inside") else Client(outer)
        response = client.get("/in/login", headers={"X-Session": ""})
        value = response.headers["x-session"]
        assert value.count(",") == 0
        assert "set-cookie" not in response.headers
        assert get("/in/who", headers={"X-Session": value})[0]["user"] == "ann"
        assert get("/who", headers={"X-Session": value})[0]["user"] == "ann"


def test_the_callbacks_of_both_are_called() -> None:
    outer_events, inner_events = Events(), Events()
    heard: list[str] = []

    @inner_events.on("created")
    def inside(event: Event) -> None:
        heard.append("inside")

    @outer_events.on("created")
    def outside(event: Event) -> None:
        heard.append("outside")

    outer = around(in_flask_bridge(listeners=inner_events), listeners=outer_events)
    with serving(outer) as get:
        get("/in/login")
        get("/in/nothing")
    assert sorted(heard) == ["inside", "outside"]


def in_flask_bridge(**options: Any) -> App:
    return WSGIMiddleware(in_flask(**options))


# --- different settings ---------------------------------------------------------------------------

NESTED = [
    lambda outer, inner: around(in_starlette(**inner), **outer),
    lambda outer, inner: around(in_litestar(**inner), **outer),
    lambda outer, inner: around(in_flask_bridge(**inner), **outer),
    lambda outer, inner: around(in_quart(**inner), **outer),
    lambda outer, inner: around_wsgi(in_flask(**inner), **outer),
    lambda outer, inner: around_wsgi(plain_wsgi(**inner), **outer),
    lambda outer, inner: around_wsgi(in_pyramid(**inner), **outer),
    lambda outer, inner: around_wsgi(in_beaker(**inner), **outer),
]
"""Make one application inside another, with options for each."""

MISMATCHES = [
    ({"idle_timeout_s": 60}, {"idle_timeout_s": 120}, "idle_timeout_s is 60.*outside.*120.*inside"),
    ({}, {"idle_timeout_s": 120}, "idle_timeout_s is 1800.* outside and 120.* inside"),
    ({"idle_timeout_s": 60}, {}, "idle_timeout_s is 60.* outside and 1800.* inside"),
    ({"cookie_secure": True}, {}, "cookie_secure is True outside and False inside"),
    ({"secret": "one secret that is long"}, {"secret": "other secret that is long"},
     "secret is not the same"),
]  # fmt: skip


@pytest.mark.parametrize("made", NESTED)
@pytest.mark.parametrize(("outer", "inner", "said"), MISMATCHES)
def test_different_settings_are_refused(
    made: Any, outer: dict[str, Any], inner: dict[str, Any], said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged: list[str] = []
    # Litestar sets all loggers up anew.
    monkeypatch.setattr(opening._log, "error", lambda form, said: logged.append(form % said))
    app = made(outer, inner)
    client: Any = Client(app) if isinstance(app, wsgi.ClusterSessionMiddleware) else TestClient(app)
    for _ in range(2):
        with suppress(ConfigurationError):
            assert client.get("/in/who").status_code == 500
    assert len(logged) == 1
    assert re.search(said, logged[0])
    assert "cookie_name" in logged[0]
    assert "secret that is long" not in logged[0]
    assert client.get("/who").status_code == 200
    app.runtime.close()


@pytest.mark.parametrize("made", NESTED)
@pytest.mark.parametrize("inner", [{"cookie_max_age_s": 86_400}, {"idle_timeout_s": 600}], ids=str)
def test_an_idle_timeout_that_follows_from_a_lifetime_is_the_outer_one_s(
    made: Any, inner: dict[str, Any]
) -> None:
    """Who gives a lifetime by the framework's name has said nothing of ours that could differ."""
    app = made({"max_age": 86_400}, {"cookie_max_age_s": 86_400, **inner})
    assert app.runtime.settings.idle_timeout_s == 86_400
    client: Any = Client(app) if isinstance(app, wsgi.ClusterSessionMiddleware) else TestClient(app)
    assert client.get("/in/who").status_code == 200
    app.runtime.close()


def test_they_are_refused_when_the_applications_are_made_if_that_can_be_seen() -> None:
    with pytest.raises(ConfigurationError, match="idle_timeout_s"):
        asgi.ClusterSessionMiddleware(plain_asgi(idle_timeout_s=60))
    with pytest.raises(ConfigurationError, match="idle_timeout_s"):
        wsgi.ClusterSessionMiddleware(plain_wsgi(idle_timeout_s=60))
    app = Starlette(middleware=[
        Middleware(asgi.ClusterSessionMiddleware),
        Middleware(asgi.ClusterSessionMiddleware, idle_timeout_s=60),
    ])
    with pytest.raises(ConfigurationError, match="idle_timeout_s"), TestClient(app):
        pass


def test_two_cookie_names_are_two_sessions() -> None:
    inner = plain_asgi(cookie_name="INNER")
    outer = around(inner)
    with serving(outer) as get:
        _, cookies = get("/in/login")
        assert [cookie.partition("=")[0] for cookie in cookies] == ["INNER"]
        assert get("/who")[0]["user"] is None
        _, cookies = get("/login")
        assert [cookie.partition("=")[0] for cookie in cookies] == ["CLUSTERSESSION"]
        get("/in/end")
        assert get("/in/who")[0]["user"] is None
        assert get("/who")[0]["user"] == "ann"
    inner.runtime.close()


def test_one_between_with_another_cookie_is_passed_by() -> None:
    between = asgi.ClusterSessionMiddleware(plain_asgi(), cookie_name="BETWEEN")
    with serving(around(between)) as get:
        _, cookies = get("/in/login")
        assert [cookie.partition("=")[0] for cookie in cookies] == ["CLUSTERSESSION"]
        assert get("/who")[0]["user"] == "ann"
    between.runtime.close()


def test_where_the_outer_one_is_excluded_the_inner_one_opens() -> None:
    inner = in_starlette()
    with serving(around(inner, exclude=["/in/login"])) as get:
        _, cookies = get("/in/login")
        assert len(cookies) == 1
        assert get("/in/who") == ({"user": "ann", "principal": "ann"}, [])
        assert get("/who")[0]["user"] == "ann"


# --- requests within requests ---------------------------------------------------------------------


@pytest.mark.parametrize("inner", ["asgi", "flask", "wsgi"])
@pytest.mark.parametrize("forwarding", [True, False])
def test_a_request_made_within_another_has_its_own_session(inner: str, forwarding: bool) -> None:
    application = {"asgi": plain_asgi, "flask": in_flask, "wsgi": plain_wsgi}[inner]()
    results: list[tuple[Any, list[str]]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["outer"] = True
        headers = {}
        if forwarding:
            headers = {n.decode(): v.decode() for n, v in scope["headers"] if n != b"cookie"}
        if inner == "asgi":
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as c:
                answer: Any = await c.get("/in/login", headers=headers)
                results.append((answer.json(), answer.headers.get_list("set-cookie")))
        else:
            answer = Client(application).get("/in/login", headers=headers)
            results.append((answer.json, answer.headers.getlist("set-cookie")))
        await plain_asgi().app(scope, receive, send)

    outer = asgi.ClusterSessionMiddleware(app)
    with serving(outer) as get:
        found, cookies = get("/who")
        assert found["user"] is None
        assert len(cookies) == 1
        assert results[0][0]["user"] == "ann"
        assert len(results[0][1]) == 1
        assert results[0][1] != cookies


async def test_what_a_request_left_behind_opens_a_session_of_its_own() -> None:
    over = asyncio.Event()
    answers: list[httpx.Response] = []
    tasks: list[asyncio.Task[None]] = []
    inner = WsgiToAsgi(plain_wsgi())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["a"] = 1

        async def later() -> None:
            await over.wait()
            transport = httpx.ASGITransport(inner)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                answers.append(await client.get("/in/login"))

        tasks.append(asyncio.create_task(later()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    outer = asgi.ClusterSessionMiddleware(app)
    transport = httpx.ASGITransport(outer)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/in/login")
    over.set()
    await tasks[0]
    assert len(answers[0].headers.get_list("set-cookie")) == 1
    outer.runtime.close()


def test_a_stream_inside_is_saved_at_its_end() -> None:
    with serving(outer := around_wsgi(in_flask())) as get:
        get("/in/login")
        client = Client(outer)
        client.get("/in/login")
        with client.get("/in/stream") as response:
            assert response.data == b"x"
        sessions = outer.runtime.manager().replica
        held = [sessions.get(key) for key in sessions.keys("", 100)]
        assert sum("streamed" in state.registers for state in held if state is not None) == 1
