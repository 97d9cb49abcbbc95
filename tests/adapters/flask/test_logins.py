"""Logins by Flask-Login and Flask-Principal, as far as these two show themselves to others."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from blinker import Namespace
from flask import Flask, current_app, session
from flask.testing import FlaskClient

from clustersession.flask import ClusterSession
from tests.adapters.flask.app import make_app


class Principal:
    """Does what Flask-Principal's class does when an application is given to it."""

    def __init__(self, app: Flask, use_sessions: bool) -> None:
        self.use_sessions = use_sessions
        app.before_request(self.before)

    def before(self) -> None:
        """Load the identity."""


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Namespace()
    found = {name: made.signal(name) for name in (
        "user_logged_in", "user_logged_out", "user_loaded_from_cookie", "identity_changed",
    )}
    module = SimpleNamespace(**found, Principal=Principal)
    monkeypatch.setitem(sys.modules, "flask_login", module)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "flask_principal", module)  # type: ignore[arg-type]
    return module


def this_app() -> Flask:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def with_views(app: Flask, signals: Any) -> Flask:
    @app.get("/login/<user>")
    def login(user: str) -> str:
        session["_user_id"] = user
        signals.user_logged_in.send(this_app(), user=user)
        return "ok"

    @app.get("/remembered")
    def remembered() -> str:
        session["_user_id"] = "ann"
        signals.user_loaded_from_cookie.send(this_app(), user="ann")
        return "ok"

    @app.get("/leave")
    def leave() -> str:
        session.pop("_user_id", None)
        signals.user_logged_out.send(this_app(), user="ann")
        return "ok"

    @app.get("/identity/<name>")
    def identity(name: str) -> str:
        found = SimpleNamespace(id=None if name == "nobody" else name)
        signals.identity_changed.send(this_app(), identity=found)
        return "ok"

    @app.get("/principal")
    def principal() -> str:
        return str(session.principal)  # type: ignore[attr-defined]

    return app


def with_login(signals: Any, extension: ClusterSession | None = None) -> Flask:
    app = make_app(extension)
    app.login_manager = object()  # type: ignore[attr-defined]
    return with_views(app, signals)


def id_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("CLUSTERSESSION")
    return cookie.value[:39] if cookie is not None else ""


def holder_of(app: Flask, identifier: str) -> FlaskClient:
    client = app.test_client()
    client.set_cookie("CLUSTERSESSION", identifier)
    return client


@pytest.mark.parametrize("path", ["/login/ann", "/remembered"])
def test_a_login_takes_a_new_id_and_names_the_user(signals: Any, path: str) -> None:
    app = with_login(signals)
    client = app.test_client()
    client.get("/set")
    planted = id_of(client)
    client.get(path)
    assert id_of(client) != planted
    assert client.get("/principal").text == "ann"
    assert client.get("/read").json == {"cart": [1], "_user_id": "ann"}
    assert holder_of(app, planted).get("/read").json == {}


def test_a_logout_takes_a_new_id_that_belongs_to_nobody(signals: Any) -> None:
    app = with_login(signals)
    client = app.test_client()
    client.get("/set")
    client.get("/login/ann")
    users = id_of(client)
    client.get("/leave")
    assert id_of(client) != users
    assert client.get("/principal").text == "None"
    assert client.get("/read").json == {"cart": [1]}
    assert holder_of(app, users).get("/read").json == {}
    client.get("/login/bob")
    assert client.get("/principal").text == "bob"


def test_a_logout_with_an_outdated_id_begins_no_session(signals: Any) -> None:
    app = with_login(signals)
    client = app.test_client()
    client.get("/set")
    planted = id_of(client)
    client.get("/login/ann")
    assert "Set-Cookie" not in holder_of(app, planted).get("/leave").headers
    assert client.get("/principal").text == "ann"


def test_logins_are_not_followed_where_the_application_says_so(signals: Any) -> None:
    client = with_login(signals, ClusterSession(follow_logins=False)).test_client()
    client.get("/set")
    before = id_of(client)
    client.get("/login/ann")
    assert (id_of(client), client.get("/principal").text) == (before, "None")


def test_flask_principal_is_followed_where_it_keeps_identities(signals: Any) -> None:
    app = with_views(make_app(), signals)
    Principal(app, use_sessions=True)
    client = app.test_client()
    client.get("/set")
    planted = id_of(client)
    client.get("/identity/ann")
    users = id_of(client)
    assert users != planted
    assert client.get("/principal").text == "ann"
    client.get("/identity/ann")
    assert id_of(client) == users
    client.get("/identity/nobody")
    assert id_of(client) != users
    assert client.get("/principal").text == "None"


def test_an_identity_that_the_application_has_named_takes_a_new_id(
    signals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLUSTERSESSION_ABSOLUTE_TIMEOUT_S", "3600")
    monkeypatch.setenv("CLUSTERSESSION_ANONYMOUS_ABSOLUTE_TIMEOUT_S", "3600")
    app = with_views(make_app(), signals)
    Principal(app, use_sessions=True)

    @app.get("/named")
    def named() -> str:
        session.principal = "ann"  # type: ignore[attr-defined]
        signals.identity_changed.send(this_app(), identity=SimpleNamespace(id="ann"))
        return "ok"

    client = app.test_client()
    client.get("/set")
    planted = id_of(client)
    client.get("/named")
    assert id_of(client) != planted


def test_an_identity_of_one_request_begins_no_session(signals: Any) -> None:
    app = with_views(make_app(), signals)
    Principal(app, use_sessions=False)
    assert "Set-Cookie" not in app.test_client().get("/identity/ann").headers
