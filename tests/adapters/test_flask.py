"""Flask applications that do not notice the difference."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import (
    Blueprint,
    Flask,
    Response,
    flash,
    get_flashed_messages,
    jsonify,
    session,
    stream_with_context,
)
from flask.sessions import SessionMixin
from markupsafe import Markup

from clustersession.core.errors import ConfigurationError, UnserializableValue
from clustersession.flask import ClusterSession
from clustersession.session.events import Events
from clustersession.worker.runtime import Runtime
from tests.adapters.contract import COOKIE_NAME, AdapterContract, Answer, Served, View, in_thread

_made: list[Flask] = []


def make_app(extension: ClusterSession | None = None, **config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": "a key of the application", "TESTING": True, **config})
    if extension is None:
        ClusterSession(app)
    else:
        extension.init_app(app)
    _made.append(app)

    @app.get("/read")
    def read() -> dict[str, Any]:
        return dict(session)

    @app.get("/untouched")
    def untouched() -> str:
        return "ok"

    @app.get("/set")
    def set_value() -> str:
        session["cart"] = [1]
        return "ok"

    @app.get("/append")
    def append() -> str:
        session["cart"].append(2)
        return "ok"

    @app.get("/permanent")
    def permanent() -> str:
        session.permanent = True
        session["a"] = 1
        return "ok"

    @app.get("/flash")
    def make_flash() -> str:
        flash("plain")
        flash(Markup("<b>bold</b>"), "note")
        return "ok"

    @app.get("/flashed")
    def flashed() -> str:
        messages = get_flashed_messages(with_categories=True)
        assert all(isinstance(m, tuple) for m in messages)
        return "|".join(f"{type(text).__name__}:{category}" for category, text in messages)

    @app.get("/logout")
    def logout() -> str:
        session.clear()
        return "ok"

    @app.get("/invalidate")
    def invalidate() -> str:
        session.invalidate()  # type: ignore[attr-defined]
        return "ok"

    @app.get("/bad")
    def bad() -> str:
        session["thing"] = object()
        return "ok"

    @app.get("/stream")
    def stream() -> Response:
        def body() -> Iterator[str]:
            session["streamed"] = 1
            yield "x"
            session["streamed"] = 2
            yield "y"

        return Response(stream_with_context(body()))

    return app


class ServedByFlask(Served):
    def __init__(self, views: Mapping[str, View], listeners: Events | None = None) -> None:
        self.app = Flask(__name__)
        self.app.config.update(SECRET_KEY="a key of the application")
        ClusterSession(self.app, listeners=listeners)
        for name, view in views.items():
            self.app.add_url_rule(f"/{name}", name, lambda view=view: jsonify(view(session)))

    def get(self, view: str, cookie: str | None = None) -> Answer:
        def ask() -> Answer:
            client = self.app.test_client(use_cookies=False)
            headers = {"Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else {}
            response = client.get(f"/{view}", headers=headers)
            return Answer(
                response.status_code, response.json,
                tuple(response.headers.getlist("Set-Cookie")), response.headers.get("Vary", ""),
            )

        return in_thread(ask)

    def runtime(self) -> Runtime:
        found: Runtime = self.app.session_interface.runtime(self.app)  # type: ignore[attr-defined]
        return found


class TestContract(AdapterContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        served = ServedByFlask(views, listeners)
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
        app.session_interface.runtime(app).close()  # type: ignore[attr-defined]


def test_the_session_works_as_ever() -> None:
    client = make_app().test_client()
    assert "Set-Cookie" not in client.get("/read").headers
    header = client.get("/set").headers["Set-Cookie"]
    assert header.startswith("CLUSTERSESSION=")
    assert header.endswith(".a; Path=/; HttpOnly; SameSite=Lax")
    response = client.get("/append")
    assert "Set-Cookie" not in response.headers
    assert response.headers["Vary"] == "Cookie"
    assert client.get("/read").json == {"cart": [1, 2]}
    response = client.get("/untouched")
    assert "Set-Cookie" not in response.headers
    assert "Vary" not in response.headers
    client.get("/logout")
    assert client.get("/read").json == {}


def test_flash_keeps_tuples_and_markup() -> None:
    client = make_app().test_client()
    client.get("/flash")
    assert client.get("/flashed").text == "str:message|Markup:note"
    assert client.get("/flashed").text == ""


def test_session_transaction() -> None:
    client = make_app().test_client()
    with client.session_transaction() as transaction:
        assert isinstance(transaction, SessionMixin)
        transaction["cart"] = ["from the test"]
    assert client.get("/read").json == {"cart": ["from the test"]}
    with client.session_transaction() as transaction:
        transaction["cart"].append(1)
    assert client.get("/read").json == {"cart": ["from the test", 1]}
    with client:
        client.get("/read")
        assert session["cart"] == ["from the test", 1]


def test_permanent_sessions() -> None:
    client = make_app(PERMANENT_SESSION_LIFETIME=timedelta(days=31)).test_client()
    header = client.get("/permanent").headers["Set-Cookie"]
    assert "Max-Age=2678400" in header
    assert "Set-Cookie" not in client.get("/permanent").headers
    with client.session_transaction() as transaction:
        assert transaction.permanent
        assert transaction.idle_timeout == 31 * 86_400  # type: ignore[attr-defined]
    plain = make_app().test_client()
    assert "Max-Age" not in plain.get("/set").headers["Set-Cookie"]


def test_flask_cookie_settings() -> None:
    client = make_app(
        SESSION_COOKIE_NAME="mine", SESSION_COOKIE_SECURE=True, SESSION_COOKIE_HTTPONLY=False,
        SESSION_COOKIE_SAMESITE="Strict", SESSION_COOKIE_PATH="/x",
        SESSION_COOKIE_DOMAIN="example.org",
    ).test_client()  # fmt: skip
    header = client.get("/set").headers["Set-Cookie"]
    assert header.startswith("mine=")
    assert header.endswith("; Path=/x; Domain=example.org; Secure; SameSite=Strict")


def test_our_settings_in_the_config_win() -> None:
    app = make_app(
        ClusterSession(route="fromcode"), SESSION_COOKIE_NAME="flask",
        CLUSTERSESSION_COOKIE_NAME="ours", CLUSTERSESSION_ROUTE="fromconfig",
    )  # fmt: skip
    header = app.test_client().get("/set").headers["Set-Cookie"]
    assert header.startswith("ours=")
    assert ".fromcode;" in header


def test_the_name_session_is_honoured_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    client = make_app(CLUSTERSESSION_COOKIE_NAME="session").test_client()
    assert client.get("/set").headers["Set-Cookie"].startswith("session=")
    client.get("/set")
    assert len([r for r in caplog.records if "httpd prefers" in r.getMessage()]) == 1


def test_the_secret_key_signs_ids_and_can_be_rotated() -> None:
    client = make_app().test_client()
    client.get("/set")
    cookie = client.get_cookie("CLUSTERSESSION")
    assert cookie is not None
    for config, known in (
        ({"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": ["a key of the application"]}, True),
        ({"SECRET_KEY": "new"}, False),
    ):
        other = make_app(**config).test_client()
        other.set_cookie("CLUSTERSESSION", cookie.value)
        assert bool(other.get("/read").json) == known


def test_without_a_secret_key_one_host_still_works() -> None:
    app = make_app(SECRET_KEY=None)
    client = app.test_client()
    client.get("/set")
    assert client.get("/read").json == {"cart": [1]}


def test_what_cannot_be_stored() -> None:
    app = make_app()
    with pytest.raises(UnserializableValue, match=r"session\['thing'\]"):
        app.test_client().get("/bad")
    app.config["TESTING"] = False
    assert app.test_client().get("/bad").status_code == 500


def test_what_cannot_be_stored_is_an_error_once(caplog: pytest.LogCaptureFixture) -> None:
    client = make_app(TESTING=False).test_client()
    response = client.get("/bad")
    assert response.status_code == 500
    response.close()
    assert [record.name for record in caplog.records if record.exc_info] == [__name__]


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


def test_streamed_responses() -> None:
    client = make_app().test_client()
    client.get("/set")
    assert client.get("/stream", buffered=True).text == "xy"
    assert client.get("/read").json == {"cart": [1], "streamed": 2}


def test_invalidate() -> None:
    client = make_app().test_client()
    client.get("/set")
    assert "Max-Age=0" in client.get("/invalidate").headers["Set-Cookie"]
    assert client.get_cookie("CLUSTERSESSION") is None


def test_the_second_cookie_of_causal_consistency() -> None:
    app = make_app(CLUSTERSESSION_CONSISTENCY="causal", SESSION_COOKIE_NAME="shop")
    client = app.test_client()
    both = client.get("/set").headers.getlist("Set-Cookie")
    assert [header.partition("=")[0] for header in both] == ["shop", "shop_v"]
    (seen,) = client.get("/append").headers.getlist("Set-Cookie")
    assert seen.startswith("shop_v=1")
    assert "Set-Cookie" not in client.get("/read").headers
    client.set_cookie("shop_v", "1" + "B" * 19)
    assert client.get("/read").json == {"cart": [1, 2]}
    manager = app.session_interface.runtime(app).manager()  # type: ignore[attr-defined]
    assert manager.counters.stale_reads == 1
    deleted = client.get("/invalidate").headers.getlist("Set-Cookie")
    assert ["Max-Age=0" in header for header in deleted] == [True, True]


# --- coming from Flask-Session ------------------------------------------------------------------


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "has no effect" in r.getMessage()]


def test_settings_of_flask_session_are_named_once_each(caplog: pytest.LogCaptureFixture) -> None:
    client = make_app(
        SESSION_TYPE="redis", SESSION_REDIS=object(), SESSION_KEY_PREFIX="shop:",
        SESSION_USE_SIGNER=False, SESSION_ID_LENGTH=32, SESSION_SERIALIZATION_FORMAT="json",
        SESSION_CLEANUP_N_REQUESTS=100, SESSION_PERMANENT=True,
    ).test_client()  # fmt: skip
    client.get("/set")
    client.get("/read")
    assert warnings_of(caplog) == [
        "SESSION_TYPE has no effect: sessions are held by the cluster itself, in "
        "CLUSTERSESSION_STATE_DIR",
        "SESSION_KEY_PREFIX has no effect: applications are kept apart by "
        "CLUSTERSESSION_CLUSTER_NAME and CLUSTERSESSION_STATE_DIR",
        "SESSION_CLEANUP_N_REQUESTS has no effect: expired sessions are removed in the background",
        "SESSION_REDIS has no effect: sessions are held by the cluster itself, in "
        "CLUSTERSESSION_STATE_DIR",
        "SESSION_USE_SIGNER has no effect: ids are always signed",
        "SESSION_ID_LENGTH has no effect: ids always have 16 random bytes and a signature",
        "SESSION_SERIALIZATION_FORMAT has no effect: values are always encoded with msgpack",
    ]


def test_settings_of_flask_session_that_ask_for_what_we_do_are_silent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_app(
        SESSION_USE_SIGNER=True, SESSION_ID_LENGTH=16, SESSION_SERIALIZATION_FORMAT="msgpack",
        SESSION_PERMANENT=False, SESSION_REDIS=None,
    ).test_client().get("/set")  # fmt: skip
    assert warnings_of(caplog) == []


def test_session_permanent_makes_new_sessions_permanent() -> None:
    client = make_app(
        SESSION_PERMANENT=True, PERMANENT_SESSION_LIFETIME=timedelta(days=2)
    ).test_client()
    assert "Set-Cookie" not in client.get("/read").headers
    assert "Max-Age=172800" in client.get("/set").headers["Set-Cookie"]
    assert client.get("/read").json == {"_permanent": True, "cart": [1]}
    client.get("/logout")
    assert "Max-Age=172800" in client.get("/set").headers["Set-Cookie"]


def test_regenerate_gives_a_new_id_and_ends_the_old() -> None:
    app = make_app()

    @app.get("/regenerate")
    def regenerate() -> str:
        app.session_interface.regenerate(session)  # type: ignore[attr-defined]
        return "ok"

    client = app.test_client()
    assert "Set-Cookie" not in client.get("/regenerate").headers
    client.get("/set")
    old = client.get_cookie(COOKIE_NAME)
    client.get("/regenerate")
    new = client.get_cookie(COOKIE_NAME)
    assert old is not None
    assert new is not None
    assert old.value != new.value
    assert client.get("/read").json == {"cart": [1]}
    client.set_cookie(COOKIE_NAME, old.value)
    assert client.get("/read").json == {}


def test_clear_ends_the_session_and_what_follows_has_a_new_id() -> None:
    app = make_app()

    @app.get("/login")
    def login() -> str:
        session.clear()
        session["user"] = "ann"
        session.principal = "ann"  # type: ignore[attr-defined]
        return "ok"

    client = app.test_client()
    client.get("/set")
    old = client.get_cookie(COOKIE_NAME)
    client.get("/login")
    new = client.get_cookie(COOKIE_NAME)
    assert old is not None
    assert new is not None
    assert old.value != new.value
    assert client.get("/read").json == {"user": "ann"}
    with client.session_transaction() as transaction:
        assert transaction.principal == "ann"  # type: ignore[attr-defined]
    assert "Max-Age=0" in client.get("/logout").headers["Set-Cookie"]
    for cookie in (old, new):
        client.set_cookie(COOKIE_NAME, cookie.value)
        assert client.get("/read").json == {}


# --- other parts of Flask -----------------------------------------------------------------------


class LazyString:
    """What flask-babel and speaklater make: no text, but it turns into one."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __html__(self) -> str:
        return self._text


def test_lazy_strings_are_flashed_as_their_text() -> None:
    app = make_app()

    @app.get("/lazy")
    def lazy() -> str:
        flash(LazyString("später"))  # type: ignore[arg-type]
        session["title"] = LazyString("Tee")
        return "ok"

    client = app.test_client()
    client.get("/lazy")
    assert client.get("/read").json == {"_flashes": [["message", "später"]], "title": "Tee"}
    assert client.get("/flashed").text == "str:message"


def test_partitioned_cookies_and_a_domain() -> None:
    client = make_app(
        SESSION_COOKIE_PARTITIONED=True, SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="None",
        SESSION_COOKIE_DOMAIN="example.org",
    ).test_client()  # fmt: skip
    header = client.get("/set").headers["Set-Cookie"]
    assert header.endswith(
        "; Path=/; Domain=example.org; Secure; HttpOnly; SameSite=None; Partitioned"
    )


def test_without_refresh_no_reader_gets_a_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    for refresh in (True, False):
        app = make_app(
            SESSION_REFRESH_EACH_REQUEST=refresh, PERMANENT_SESSION_LIFETIME=timedelta(hours=4)
        )
        client = app.test_client()
        client.get("/permanent")
        manager = app.session_interface.runtime(app).manager()  # type: ignore[attr-defined]
        later_ms = manager.now_ms() + 2 * 3_600_000
        manager.now_ms = manager.context.now_ms = lambda later_ms=later_ms: later_ms
        assert ("Set-Cookie" in client.get("/untouched").headers) == refresh


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


def test_an_excluded_path_is_served_where_no_node_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    app = Flask("excluding")
    ClusterSession(app, exclude=["/static/.*"], state_dir=str(tmp_path / "file"))
    app.add_url_rule("/static/style", "style", lambda: "ok")
    assert (app.test_client().get("/static/style")).status_code == 200
