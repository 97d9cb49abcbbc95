"""The extension in an application: its start, paths, blueprints, clients without cookies."""

from typing import Any

import pytest
from flask import Blueprint, Flask, request, session
from flask.testing import FlaskClient
from werkzeug.test import create_environ

from clustersession.core.errors import ConfigurationError
from clustersession.flask import ClusterSession
from tests.adapters.flask.app import make_app


def test_a_started_application_has_opened_before_any_request() -> None:
    extension = ClusterSession()
    app = make_app(extension)
    assert app.extensions["clustersession"] is extension
    runtime = app.session_interface.runtime(app)  # type: ignore[attr-defined]
    assert runtime._process is None
    extension.start(app)
    manager = runtime._process.manager
    extension.start(app)
    assert runtime.manager() is manager
    with pytest.raises(RuntimeError, match="init_app"):
        extension.start(Flask("another"))


def test_blueprints_error_handlers_teardown_and_async_views() -> None:
    app = make_app(TESTING=False)
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    torn_down: list[object] = []

    @inner.before_request
    def count() -> None:
        session["inner"] = session.get("inner", 0) + 1

    @inner.get("/view")
    async def view() -> str:
        session["view"] = True
        return "ok"

    @inner.get("/fails")
    def fails() -> str:
        session["tried"] = True
        raise ZeroDivisionError

    @inner.errorhandler(ZeroDivisionError)
    def handle(error: ZeroDivisionError) -> tuple[str, int]:
        session["handled"] = True
        return "handled", 500

    @app.teardown_request
    def look(error: BaseException | None) -> None:
        torn_down.append(session.get("inner"))

    outer.register_blueprint(inner, url_prefix="/inner")
    app.register_blueprint(outer, url_prefix="/outer")
    client = app.test_client()
    assert client.get("/outer/inner/view").text == "ok"
    assert client.get("/outer/inner/fails").status_code == 500
    assert client.get("/read").json == {"inner": 2, "view": True, "tried": True, "handled": True}
    assert torn_down == [1, 2, 2]


def test_an_excluded_path_has_flasks_null_session() -> None:
    app = make_app(CLUSTERSESSION_EXCLUDE=["/read"])
    client = app.test_client()
    client.get("/set")
    response = client.get("/read")
    assert response.json == {}
    assert "Set-Cookie" not in response.headers


def test_a_client_without_cookies_is_answered_in_the_header() -> None:
    app = make_app(CLUSTERSESSION_HEADER_NAME="X-Session")
    client = app.test_client(use_cookies=False)
    response = client.get("/set", headers={"X-Session": ""})
    assert "Set-Cookie" not in response.headers
    assert response.vary.as_set() == {"cookie", "x-session"}
    value = response.headers["X-Session"]
    assert client.get("/read", headers={"X-Session": value}).json == {"cart": [1]}


def test_a_path_parameter_is_refused() -> None:
    app = Flask(__name__)
    ClusterSession(app, url_parameter="jsessionid")
    with pytest.raises(ConfigurationError, match="url_parameter"):
        app.session_interface.runtime(app)  # type: ignore[attr-defined]


def save_as_flask_socketio_does(app: Flask, environ: dict[str, Any], change: Any) -> bool:
    """Handle an event with ``manage_session=False``, as that extension has it; tell if it saved."""
    with app.request_context(environ):
        of_event: Any = session._get_current_object()  # type: ignore[attr-defined]
        request.sid = "a socket"  # type: ignore[attr-defined]
        request.namespace = "/"  # type: ignore[attr-defined]
        change(session)
        if saves := of_event.modified:
            response = app.response_class()
            app.session_interface.save_session(app, of_event, response)
            assert "Set-Cookie" not in response.headers
        return bool(saves)


def value_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("CLUSTERSESSION")
    return cookie.value if cookie is not None else ""


def test_an_event_of_flask_socketio_saves_what_it_changed_inside_a_value() -> None:
    app = make_app()
    client = app.test_client()
    client.get("/set")
    environ = create_environ(headers={"Cookie": f"CLUSTERSESSION={value_of(client)}"})
    assert save_as_flask_socketio_does(app, environ, lambda s: s["cart"].append(2))
    assert save_as_flask_socketio_does(app, environ, lambda s: s["cart"].append(3))
    assert not save_as_flask_socketio_does(app, environ, lambda s: s["cart"])
    assert client.get("/read").json == {"cart": [1, 2, 3]}


def test_an_event_of_flask_socketio_begins_no_session(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    client, environ = app.test_client(), create_environ()
    for number in range(3):
        assert save_as_flask_socketio_does(app, environ, lambda s, n=number: s.update(n=n))
    assert client.get("/read").json == {}
    runtime = app.session_interface.runtime(app)  # type: ignore[attr-defined]
    assert runtime.manager().replica.keys("", 10) == []
    assert "no cookie could be sent" in caplog.text


def test_a_handler_of_a_websocket_begins_no_session() -> None:
    app = make_app()
    client = app.test_client()
    client.get("/set", headers={"Upgrade": "websocket", "Sec-WebSocket-Key": "x"})
    assert client.get("/read").json == {}
    client.get("/set")
    client.get("/append", headers={"Upgrade": "websocket", "Sec-WebSocket-Key": "x"})
    assert client.get("/read").json == {"cart": [1, 2]}
