"""WSGI applications that were written for Beaker, over a real replica."""

import copy
import json
import logging
import operator
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import bottle
import pytest
from werkzeug.test import Client

from clustersession.beaker import BeakerSession, SessionMiddleware
from clustersession.core.errors import ConfigurationError, SessionError, UnserializableValue
from clustersession.session.events import Events
from clustersession.session.visit import visit_of
from clustersession.worker.runtime import Runtime
from clustersession.wsgi import ClusterSessionMiddleware
from tests.adapters.contract import COOKIE_NAME, AdapterContract, Answer, Served, View

BeakerView = Callable[[Any], object]
TIMES = {"_creation_time", "_accessed_time"}


def make_app(views: Mapping[str, BeakerView]) -> Any:
    """Each view, of the session, is served at the path of its name."""
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        found = views[environ["PATH_INFO"].lstrip("/")](environ["beaker.session"])
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(found).encode()]

    return app


@contextmanager
def served(
    *views: BeakerView, config: Mapping[str, Any] | None = None, **options: Any
) -> Iterator[Client]:
    middleware = SessionMiddleware(make_app({v.__name__: v for v in views}), config, **options)
    yield Client(middleware)
    middleware.runtime.close()


def read(session: Any) -> object:
    return {name: session[name] for name in session if name not in TIMES}


def begin(session: Any) -> object:
    session["cart"] = ["tea"]
    session["n"] = 1
    session.save()
    return None


# --- what is kept ---------------------------------------------------------------------------------


def test_what_is_not_saved_is_dropped() -> None:
    def change(session: Any) -> object:
        session["n"] = 2
        session["new"] = True
        session["cart"].append("cake")
        del session["n"]
        return None

    with served(begin, change, read) as client:
        assert client.get("/begin").headers.getlist("Set-Cookie")
        assert client.get("/change").headers.getlist("Set-Cookie") == []
        assert client.get("/read").json == {"cart": ["tea"], "n": 1}


def test_what_is_changed_behind_it_is_kept_beside_what_is_saved() -> None:
    def both(session: Any) -> object:
        session["mine"] = 1
        session.clustered["cart"].append("milk")
        session.clustered["theirs"] = 2
        session.clustered["n"] = True
        session.save()
        return None

    def take_away(session: Any) -> object:
        del session["mine"]
        session["n"] = 1
        session.clustered.pop("theirs")
        session.save()
        return None

    with served(begin, both, take_away, read) as client:
        client.get("/begin")
        client.get("/both")
        found = client.get("/read").json
        assert found == {"cart": ["tea", "milk"], "n": True, "mine": 1, "theirs": 2}
        assert found["n"] is True
        client.get("/take_away")
        found = client.get("/read").json
        assert found == {"cart": ["tea", "milk"], "n": 1}
        assert found["n"] is not True


def test_a_new_session_that_is_not_saved_begins_none() -> None:
    def change(session: Any) -> object:
        session["n"] = 2
        return None

    with served(change, read) as client:
        assert client.get("/change").headers.getlist("Set-Cookie") == []
        assert client.get("/read").json == {}


def test_save_keeps_everything_until_the_response_starts() -> None:
    def change(session: Any) -> object:
        session["cart"].append("cake")
        session.save()
        session["after"] = True
        del session["n"]
        return None

    with served(begin, change, read) as client:
        client.get("/begin")
        client.get("/change")
        assert client.get("/read").json == {"cart": ["tea", "cake"], "after": True}


def test_auto_keeps_what_is_changed_and_begins_nothing_for_a_reader() -> None:
    def change(session: Any) -> object:
        session.setdefault("cart", []).append("tea")
        return None

    for config in ({"session.auto": True}, {"beaker.session.auto": "true"}):
        with served(change, read, config=config) as client:
            assert client.get("/read").headers.getlist("Set-Cookie") == []
            client.get("/change")
            client.get("/change")
            assert client.get("/read").json == {"cart": ["tea", "tea"]}


def streaming(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    session = environ["beaker.session"]
    start_response("200 OK", [])
    session["first"] = 1
    session.save()
    yield b"x"
    session["dropped"] = 1
    session["first"] = 2
    if environ["PATH_INFO"] == "/save":
        session.save()
        session["dropped late"] = 1
    yield b"y"


def test_a_body_that_saves_while_it_is_sent() -> None:
    middleware = SessionMiddleware(streaming)
    client = Client(middleware)
    client.get("/", buffered=True)
    reader = Client(SessionMiddleware(make_app({"read": read})))
    cookie = client.get_cookie(COOKIE_NAME)
    assert cookie is not None
    reader.set_cookie(COOKIE_NAME, cookie.value)
    assert reader.get("/read").json == {"first": 1}
    client.get("/save", buffered=True)
    assert reader.get("/read").json == {"first": 2, "dropped": 1}
    middleware.runtime.close()
    reader.application.runtime.close()  # type: ignore[attr-defined]


def test_an_application_that_raises_keeps_nothing() -> None:
    def fail(session: Any) -> object:
        session["n"] = 2
        session.save()
        session.invalidate()
        raise RuntimeError

    def bad(session: Any) -> object:
        session["bad"] = object()
        session.save()
        return None

    with served(begin, fail, bad, read) as client:
        client.get("/begin")
        with pytest.raises(RuntimeError):
            client.get("/fail")
        with pytest.raises(UnserializableValue, match=r"session\['bad'\]"):
            client.get("/bad")
        assert client.get("/read").json == {"cart": ["tea"], "n": 1}


# --- Beaker's methods -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["delete", "invalidate"])
def test_an_end_needs_no_save_and_a_saved_change_after_it_begins_anew(way: str) -> None:
    def end(session: Any) -> object:
        getattr(session, way)()
        return read(session)

    def end_and_begin(session: Any) -> object:
        getattr(session, way)()
        session["new"] = 1
        session.save()
        return None

    with served(begin, end, end_and_begin, read) as client:
        first = client.get("/begin").headers["Set-Cookie"]
        ended = client.get("/end")
        assert (ended.json, "Max-Age=0" in ended.headers["Set-Cookie"]) == ({}, True)
        assert client.get("/read").json == {}
        client.get("/begin")
        second = client.get("/end_and_begin").headers["Set-Cookie"]
        assert second != first
        assert client.get("/read").json == {"new": 1}


def test_a_new_id_needs_no_save_and_keeps_what_is_stored() -> None:
    def log_in(session: Any) -> object:
        session["dropped"] = 1
        session.regenerate_id()
        session.principal = "ann"
        return session.id

    def who(session: Any) -> object:
        return session.principal

    with served(begin, log_in, who, read) as client:
        before = client.get("/begin").headers["Set-Cookie"]
        assert client.get("/log_in").headers["Set-Cookie"] != before
        assert client.get("/read").json == {"cart": ["tea"], "n": 1}
        assert client.get("/who").json == "ann"


def test_times_and_ids() -> None:
    def look(session: Any) -> object:
        assert session.accessed() is False
        found = [session.is_new, session.id is None, session.last_accessed is None]
        assert session.accessed() is True
        assert session["_creation_time"] == session.created
        assert abs(session["_accessed_time"] - time.time()) < 60
        assert session.created <= session["_accessed_time"] + 1
        assert {*session} >= TIMES
        assert session.timeout == 1800
        return found

    with served(begin, look, read) as client:
        assert client.get("/look").json == [True, True, True]
        client.get("/begin")
        assert client.get("/look").json == [False, False, False]


def test_revert_and_load() -> None:
    def revert(session: Any) -> object:
        session["n"] = 5
        session["cart"].append("cake")
        session.revert()
        session.save()
        return read(session)

    def load(session: Any) -> object:
        session["n"] = 5
        Client(other.application, use_cookies=False).get("/add", headers=headers)
        session.load()
        return read(session)

    def add(session: Any) -> object:
        session["added"] = 1
        session.save()
        return None

    with served(begin, revert, load, read) as client, served(add) as other:
        cookie = client.get("/begin").headers["Set-Cookie"].partition(";")[0]
        headers = {"Cookie": cookie}
        assert client.get("/revert").json == {"cart": ["tea"], "n": 1}
        assert client.get("/load").json == {"cart": ["tea"], "n": 1, "added": 1}


def test_locks_are_nothing_and_it_is_a_mapping() -> None:
    def look(session: Any) -> object:
        session.lock()
        session.unlock()
        assert session.dirty() is False
        assert session.has_key("n")
        assert "none" not in session
        assert session.get("none") is None
        assert session.copy()["n"] == 1
        assert repr(session).startswith("{")
        assert session.clustered["n"] == 1
        session.save()
        assert session.dirty() is True
        session.clear()
        return dict(session)

    with served(begin, look, read) as client:
        client.get("/begin")
        assert client.get("/look").json == {}
        assert client.get("/read").json == {}


def test_another_session_is_read_by_its_id() -> None:
    ids: list[str] = []

    def keep_id(session: Any) -> object:
        ids.append(session.id)
        return None

    def other(session: Any) -> object:
        found = session.get_by_id(ids[0])
        with pytest.raises(TypeError):
            found["n"] = 2
        assert session.get_by_id("made up") is None
        assert session.get_by_id(ids[0][:-1] + "~") is None
        return dict(found)

    with served(begin, keep_id, other) as client:
        client.get("/begin")
        client.get("/keep_id")
        stranger = Client(client.application)
        response = stranger.get("/other")
        assert response.json == {"cart": ["tea"], "n": 1}
        assert response.headers.getlist("Set-Cookie") == []


def test_a_path_that_is_excluded_has_a_session_to_read() -> None:
    def healthy(session: Any) -> object:
        assert read(session) == {}
        session["n"] = 1
        with pytest.raises(SessionError, match="exclude"):
            session.persist()
        session.revert()
        return "fine"

    with served(healthy, exclude=["/healthy"], auto=True) as client:
        assert client.get("/healthy").json == "fine"


def test_it_serves_a_bottle() -> None:
    app = bottle.Bottle()

    @app.get("/count")
    def count() -> Any:
        session = bottle.request.environ["beaker.session"]
        session["n"] = session.get("n", 0) + 1
        session.save()
        return {"n": session["n"]}

    middleware = SessionMiddleware(app, {"session.auto": False})
    client = Client(middleware)
    assert [client.get("/count").json["n"] for _ in range(3)] == [1, 2, 3]
    middleware.runtime.close()


# --- options --------------------------------------------------------------------------------------


def settings_of(config: Mapping[str, Any] | None = None, **options: Any) -> Any:
    return SessionMiddleware(make_app({}), config, **options).runtime.settings


def test_options_of_beaker_are_ours() -> None:
    found = settings_of({
        "session.key": "shop.sid", "session.timeout": "600", "session.secure": "true",
        "beaker.session.httponly": True, "session.cookie_domain": "shop.example",
        "session.cookie_path": "/shop", "session.samesite": "Strict",
        "session.cookie_expires": 3600, "session.secret": "qT8w-Lz3Rk5_vN0xYb7d",
        "clustersession.route": "tomcat1", "sqlalchemy.url": "sqlite://", "here": "/etc",
    })
    assert (found.cookie_name, found.idle_timeout_s) == ("shop.sid", 600)
    assert (found.cookie_secure, found.cookie_httponly) == (True, True)
    assert (found.cookie_domain, found.cookie_path) == ("shop.example", "/shop")
    assert (found.cookie_samesite, found.cookie_max_age_s) == ("strict", 3600)
    assert (found.route, len(found.secret)) == ("tomcat1", 1)
    assert found.secret[0] != "qT8w-Lz3Rk5_vN0xYb7d"
    found = settings_of(timeout=600, key="sid", distributable=None, secret="qT8w-Lz3Rk5_vN0xYb7d")
    assert (found.idle_timeout_s, found.cookie_name) == (600, "sid")
    assert found.secret == ("qT8w-Lz3Rk5_vN0xYb7d",)


@pytest.mark.parametrize(("expires", "lifetime_s"), [
    (True, 0), ("true", 0), (False, 315_360_000), ("False", 315_360_000), (1, 1), ("300", 300),
    (timedelta(hours=1), 3600),
])
def test_the_lifetime_of_the_cookie(expires: Any, lifetime_s: int) -> None:
    assert settings_of({"session.cookie_expires": expires}).cookie_max_age_s == lifetime_s


def test_options_of_a_store_are_ignored_with_one_warning_each(
    caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "clustersession"):
        found = settings_of({
            "session.type": "ext:redis", "session.url": "redis://10.0.0.9", "session.data_dir": "",
            "session.sa.pool_size": 5, "session.lock_dir": None, "session.use_cookies": True,
        })
    assert found == settings_of()
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(" ")[0] for line in said] == [
        "session.type", "session.url", "session.sa.pool_size",
    ]
    assert all("has no effect: sessions are held by the cluster" in line for line in said)


@pytest.mark.parametrize(("config", "said"), [
    ({"session.tiemout": 5}, "session.tiemout is no option of Beaker"),
    ({"session.distributable": True}, "one of ours is written clustersession.distributable"),
    ({"session.use_cookies": False}, "header_name"),
    ({"session.id": "x"}, "session.id cannot be given"),
    ({"session.cookie_expires": datetime(2030, 1, 1, tzinfo=UTC)}, "not a datetime"),
    ({"session.timeout": "long"}, "session.timeout"),
    ({"session.key": "a b"}, "session.key"),
    ({"clustersession.distributible": True}, "did you mean distributable"),
    ({"session.key": "a", "clustersession.cookie_name": "b"}, "cookie_name is given twice"),
])
def test_what_is_wrong_is_refused_with_the_name_it_was_written_by(
    config: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        settings_of(config)


def test_another_place_in_the_environ_and_a_middleware_around_it() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert environ["s"].clustered is environ["clustersession.session"]
        environ["s"]["n"] = 1
        environ["s"].save()
        start_response("200 OK", [])
        return [b""]

    inner = SessionMiddleware(app, environ_key="s")
    outer = ClusterSessionMiddleware(inner)
    assert len(Client(outer).get("/").headers.getlist("Set-Cookie")) == 1
    outer.runtime.close()
    with pytest.raises(ConfigurationError, match="idle_timeout_s"):
        SessionMiddleware(ClusterSessionMiddleware(app), timeout=60)
    middleware = SessionMiddleware(app)
    middleware.start()
    assert middleware.runtime._process is not None
    middleware.runtime.close()


# --- the contract ---------------------------------------------------------------------------------


class ServedByBeaker(Served):
    """With ``auto``: the views of the contract know of no ``save``."""

    def __init__(self, views: Mapping[str, View], listeners: Events | None = None) -> None:
        self._middleware = SessionMiddleware(
            make_app(views), {"session.auto": True}, listeners=listeners
        )

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
    ways_to_read: Mapping[str, View] = {
        "[]": lambda s: s["user"], "del": lambda s: operator.delitem(s, "user"),
        "in": lambda s: "user" in s, "get": lambda s: s.get("user"), "len": len, "bool": bool,
        "iter": list, "items": lambda s: list(s.items()), "keys": lambda s: list(s.keys()),
        "values": lambda s: list(s.values()), "dict": dict, "==": lambda s: s == {},
        "two stars": lambda s: {**s}, "copy": lambda s: s.copy(), "deepcopy": copy.deepcopy,
        "has_key": lambda s: s.has_key("user"), "repr": repr, "clear": lambda s: s.clear(),
        "pop": lambda s: s.pop("user", None), "popitem": lambda s: s.popitem(),
        "setdefault": lambda s: s.setdefault("user", "bob"), "update": lambda s: s.update(a=1),
        "id": lambda s: s.id, "is_new": lambda s: s.is_new, "created": lambda s: s.created,
        "last_accessed": lambda s: s.last_accessed, "timeout": lambda s: s.timeout,
        "principal": lambda s: s.principal, "load": lambda s: s.load(),
        "delete": lambda s: s.delete(), "invalidate": lambda s: s.invalidate(),
        "regenerate_id": lambda s: s.regenerate_id(),
        "set": lambda s: s.set("user", "bob", expires_in=60),
        "expires_in": lambda s: s.expires_in("user"),
        "swap": lambda s: s.swap("user", "nobody", "bob"),
    }

    def rotate(self, session: Any) -> None:
        session.regenerate_id()

    def clear(self, session: Any) -> None:
        session.delete()

    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        served = ServedByBeaker(views, listeners)
        try:
            yield served
        finally:
            served.runtime().close()


def test_a_session_of_beaker_that_nobody_looks_at_is_not_copied() -> None:
    found: list[BeakerSession] = []

    def untouched(session: Any) -> object:
        found.append(session)
        return None

    with served(begin, untouched) as client:
        client.get("/begin")
        assert "Vary" not in client.get("/untouched").headers
        assert found[0]._values is None
        assert not visit_of(found[0].clustered).is_open
