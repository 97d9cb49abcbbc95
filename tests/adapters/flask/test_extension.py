"""The extension in an application: its start, paths, blueprints, clients without cookies."""

import pytest
from flask import Blueprint, Flask, session

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
