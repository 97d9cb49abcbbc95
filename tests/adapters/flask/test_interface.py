"""Flask applications that do not notice the difference."""

from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask, flash, request, session
from flask.sessions import SessionMixin

from clustersession.core.errors import UnserializableValue
from clustersession.flask import ClusterSession
from tests.adapters.contract import COOKIE_NAME
from tests.adapters.flask.app import make_app
from tests.session.fakes import token_of_lost_writes


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


def test_an_application_that_calls_itself_still_gives_its_client_the_cookie() -> None:
    app = make_app()

    @app.get("/outer")
    def outer() -> dict[str, int]:
        session["outer"] = 1
        with app.request_context({**request.environ, "PATH_INFO": "/set"}):
            app.full_dispatch_request()
        session["outer"] = 2
        return {}

    client = app.test_client()
    assert client.get("/outer").headers["Set-Cookie"].startswith("CLUSTERSESSION=")
    assert client.get("/read").json == {"outer": 2}


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


def test_what_cannot_be_stored() -> None:
    app = make_app()
    with pytest.raises(UnserializableValue, match=r"session\['thing'\]"):
        app.test_client().get("/bad")
    app.config["TESTING"] = False
    assert app.test_client().get("/bad").status_code == 500


def test_what_cannot_be_stored_is_an_error_once(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(TESTING=False)
    response = app.test_client().get("/bad")
    assert response.status_code == 500
    response.close()
    assert [record.name for record in caplog.records if record.exc_info] == [app.name]


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
    manager = app.session_interface.runtime(app).manager()  # type: ignore[attr-defined]
    cookie = client.get_cookie("shop")
    assert cookie is not None
    client.set_cookie("shop_v", token_of_lost_writes(manager, cookie.value))
    assert client.get("/read").json == {"cart": [1, 2]}
    assert manager.counters.stale_reads == 1
    deleted = client.get("/invalidate").headers.getlist("Set-Cookie")
    assert ["Max-Age=0" in header for header in deleted] == [True, True]


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


def test_an_excluded_path_is_served_where_no_node_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    app = Flask("excluding")
    ClusterSession(app, exclude=["/static/.*"], state_dir=str(tmp_path / "file"))
    app.add_url_rule("/static/style", "style", lambda: "ok")
    assert (app.test_client().get("/static/style")).status_code == 200


def test_regenerate_is_a_login_with_an_outdated_id_too() -> None:
    app = make_app()

    @app.get("/login")
    def login() -> str:
        app.session_interface.regenerate(session)  # type: ignore[attr-defined]
        session["user"] = "ann"
        return "ok"

    client, late = app.test_client(), app.test_client()
    client.get("/set")
    old = client.get_cookie(COOKIE_NAME)
    assert old is not None
    late.set_cookie(COOKIE_NAME, old.value)
    client.get("/login")
    assert "Set-Cookie" not in late.get("/set").headers
    assert "Set-Cookie" in late.get("/login").headers
    assert late.get("/read").json == {"user": "ann"}
