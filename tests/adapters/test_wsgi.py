"""Plain WSGI applications over a real replica."""

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import ref

import pytest
from werkzeug.test import Client

from clustersession.core.errors import UnserializableValue
from clustersession.session.events import Events
from clustersession.session.session import Session
from clustersession.session.visit import Visit, visit_of
from clustersession.worker.runtime import Runtime
from clustersession.wsgi import ClusterSessionMiddleware
from tests.adapters.contract import COOKIE_NAME, AdapterContract, Answer, Served, View
from tests.session.fakes import token_of_lost_writes


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    session: Session = environ["clustersession.session"]
    path = environ["PATH_INFO"]
    # Many applications start the response before they touch the session.
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/set":
        session["a"] = [1]
    elif path == "/append":
        session["a"].append(2)
    elif path == "/logout":
        session.invalidate()
    elif path == "/bad":
        session["bad"] = object()
    elif path == "/raise":
        session["half"] = 1
        raise RuntimeError("failed")
    elif path == "/stream":
        return stream(session)
    elif path == "/write":
        session["written"] = 1
        write(b"part ")
        session["later"] = 2
    return [repr(dict(session)).encode() if path != "/none" else b""]


def stream(session: Session) -> Iterator[bytes]:
    session["first"] = 1
    yield b"x"
    session["last"] = 2
    yield b"y"


def generator(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    environ["clustersession.session"]["made"] = "in a generator"
    start_response("200 OK", [])
    yield b"body"
    environ["clustersession.session"]["after"] = 1


@pytest.fixture
def client() -> Any:
    middleware = ClusterSessionMiddleware(application)
    yield Client(middleware)
    middleware.runtime.close()


def test_no_session_no_cookie(client: Client) -> None:
    assert "Set-Cookie" not in client.get("/none").headers
    response = client.get("/read")
    assert response.text == "{}"
    assert response.headers["Vary"] == "Cookie"


def test_set_change_and_end(client: Client) -> None:
    assert client.get("/set").headers["Set-Cookie"].startswith("CLUSTERSESSION=")
    assert "Set-Cookie" not in client.get("/append").headers
    assert client.get("/read").text == "{'a': [1, 2]}"
    assert "Max-Age=0" in client.get("/logout").headers["Set-Cookie"]
    assert client.get("/read").text == "{}"


def test_changes_while_the_body_is_produced(client: Client) -> None:
    assert "Set-Cookie" in client.get("/stream", buffered=True).headers
    assert client.get("/read").text == "{'first': 1, 'last': 2}"
    client.get("/write", buffered=True)
    assert "'written': 1, 'later': 2" in client.get("/read").text


def test_a_generator_application() -> None:
    middleware = ClusterSessionMiddleware(generator)
    client = Client(middleware)
    assert "Set-Cookie" in client.get("/", buffered=True).headers
    middleware.app = application
    assert client.get("/read").text == "{'made': 'in a generator', 'after': 1}"
    middleware.runtime.close()


def test_errors_commit_nothing(client: Client) -> None:
    client.get("/set")
    with pytest.raises(RuntimeError):
        client.get("/raise")
    with pytest.raises(UnserializableValue, match=r"session\['bad'\]"):
        client.get("/bad")
    assert client.get("/read").text == "{'a': [1]}"


def test_another_key_and_the_id_in_a_header() -> None:
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(dict(environ["session"]))
        environ["session"]["n"] = 1
        start_response("200 OK", [])
        return [b""]

    middleware = ClusterSessionMiddleware(app, "session", header_name="X-Session")
    client = Client(middleware, use_cookies=False)
    value = client.get("/").headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    client.get("/", headers={"X-Session": value})
    assert seen == [{}, {"n": 1}]
    middleware.runtime.close()


def test_the_second_cookie_of_causal_consistency() -> None:
    middleware = ClusterSessionMiddleware(application, consistency="causal")
    client = Client(middleware)
    session_cookie, seen_cookie = client.get("/set").headers.getlist("Set-Cookie")
    assert session_cookie.startswith("CLUSTERSESSION=")
    assert seen_cookie.startswith("CLUSTERSESSION_v=1")
    (seen_cookie,) = client.get("/append").headers.getlist("Set-Cookie")
    assert seen_cookie.startswith("CLUSTERSESSION_v=1")
    assert "Set-Cookie" not in client.get("/read").headers
    manager = middleware.runtime.manager()
    cookie = client.get_cookie("CLUSTERSESSION")
    assert cookie is not None
    client.set_cookie("CLUSTERSESSION_v", token_of_lost_writes(manager, cookie.value))
    assert client.get("/read").text == "{'a': [1, 2]}"
    assert manager.counters.stale_reads == 1
    deleted = client.get("/logout").headers.getlist("Set-Cookie")
    assert ["Max-Age=0" in header for header in deleted] == [True, True]
    assert client.get_cookie("CLUSTERSESSION_v") is None
    middleware.runtime.close()


def test_a_started_middleware_has_opened_before_any_request() -> None:
    middleware = ClusterSessionMiddleware(application)
    assert middleware.runtime._process is None
    middleware.start()
    assert middleware.runtime._process is not None
    middleware.runtime.close()


def test_a_save_that_was_refused_and_survived_is_not_tried_again_at_the_end() -> None:
    def survives(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        environ["clustersession.session"]["bad"] = object()
        with pytest.raises(UnserializableValue):
            environ["clustersession.session"].save()
        start_response("200 OK", [])
        yield b"served"

    middleware = ClusterSessionMiddleware(survives)
    response = Client(middleware).get("/")
    assert response.text == "served"
    response.close()
    middleware.runtime.close()


def test_a_body_may_be_closed_twice() -> None:
    middleware = ClusterSessionMiddleware(generator)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
    body: Any = middleware(environ, lambda *_: lambda _: None)
    del environ
    assert list(body) == [b"body"]
    body.close()
    body.close()
    middleware.runtime.close()


def test_a_path_that_leads_elsewhere_without_the_id_is_refused() -> None:
    middleware = ClusterSessionMiddleware(application, url_parameter="jsessionid")
    client = Client(middleware)
    for path in ("/public/%2e%2e;jsessionid=x/admin", "/;jsessionid=x/evil.example"):
        response = client.get(path)
        assert (response.status_code, "jsessionid" in response.text) == (400, True), path
    assert client.get("/public;jsessionid=x").status_code == 200
    middleware.runtime.close()


class ServedByWsgi(Served):
    def __init__(self, views: Mapping[str, View], listeners: Events | None = None) -> None:
        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [("Content-Type", "application/json")])
            view = views[environ["PATH_INFO"].lstrip("/")]
            return [json.dumps(view(environ["clustersession.session"])).encode()]

        self._middleware = ClusterSessionMiddleware(app, listeners=listeners)

    def get(self, view: str, cookie: str | None = None) -> Answer:
        headers = {"Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else {}
        response = Client(self._middleware, use_cookies=False).get(f"/{view}", headers=headers)
        return Answer(
            response.status_code, response.json,
            tuple(response.headers.getlist("Set-Cookie")), response.headers.get("Vary", ""),
        )

    def runtime(self) -> Runtime:
        return self._middleware.runtime


class TestContract(AdapterContract):
    def clear(self, session: Any) -> None:
        # Emptying it alone ends no session here.
        session.invalidate()

    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        served = ServedByWsgi(views, listeners)
        try:
            yield served
        finally:
            served.runtime().close()


def test_a_request_that_fails_keeps_no_session() -> None:
    def fails(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["clustersession.session"]["a"] = 1
        kept.append(ref(visit_of(environ["clustersession.session"])))
        raise RuntimeError("failed")

    kept: list[ref[Visit]] = []
    middleware = ClusterSessionMiddleware(fails)
    gc.disable()
    try:
        with pytest.raises(RuntimeError, match="failed"):
            Client(middleware).get("/")
        assert [gone() for gone in kept] == [None]
    finally:
        gc.enable()
    middleware.runtime.close()


def test_one_inside_with_another_cookie_takes_no_session_away() -> None:
    def inside(environ: Any, start_response: Any) -> Any:
        environ["clustersession.session"]["name"] = "inside"
        start_response("200 OK", [])
        return [b""]

    inner = ClusterSessionMiddleware(inside, cookie_name="INSIDE")

    def outside(environ: Any, start_response: Any) -> Any:
        body = inner(environ, start_response)
        environ["clustersession.session"]["name"] = "outside"
        return body

    outer = ClusterSessionMiddleware(outside)
    client = Client(outer)
    client.get("/")
    found = {name: client.get_cookie(name) for name in ("CLUSTERSESSION", "INSIDE")}
    held = {
        name: dict(middleware.runtime.manager().open([cookie.value]).session)
        for (name, cookie), middleware in zip(found.items(), (outer, inner), strict=True)
        if cookie is not None
    }
    assert held == {"CLUSTERSESSION": {"name": "outside"}, "INSIDE": {"name": "inside"}}
