"""The configuration of a Flask application in our words, that of Flask-Session included."""

from datetime import timedelta

import pytest
from flask import Flask

from clustersession.core.errors import ConfigurationError
from clustersession.flask import ClusterSession
from tests.adapters.flask.app import make_app


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


def test_partitioned_cookies_and_a_domain() -> None:
    client = make_app(
        SESSION_COOKIE_PARTITIONED=True, SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="None",
        SESSION_COOKIE_DOMAIN="example.org",
    ).test_client()  # fmt: skip
    header = client.get("/set").headers["Set-Cookie"]
    assert header.endswith(
        "; Path=/; Domain=example.org; Secure; HttpOnly; SameSite=None; Partitioned"
    )


def test_what_is_wrong_already_is_refused_when_the_extension_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that imports the application does not start; what may follow is not judged yet."""
    app = Flask("app")
    for options in ({"rout": "a"}, {"ack": "two"}):
        with pytest.raises(ConfigurationError, match=r"route|ack"):
            ClusterSession(app, **options)
    app.config["CLUSTERSESSION_ACK"] = "one"
    monkeypatch.setenv("CLUSTERSESSION_ACK", "two")
    ClusterSession(app, cookie_samesite="none")
    app.config["SESSION_COOKIE_SECURE"] = True
    app.session_interface.runtime(app)  # type: ignore[attr-defined]
