"""What a path says of the session: nothing to be had here, or the id."""

import gc
from weakref import ref

import pytest

from clustersession.core.errors import ConfigurationError, SessionError
from clustersession.requests.paths import (
    ExcludedSession,
    MisleadingPath,
    PathParameter,
    path_excluder,
)
from clustersession.settings.settings import Settings
from tests.session.fakes import World


def test_no_patterns_cost_nothing() -> None:
    assert path_excluder(()) is None


def test_a_pattern_must_match_in_full() -> None:
    is_excluded = path_excluder((r".*\.css", "/health"))
    assert is_excluded is not None
    for path, expected in {
        "/a/b.css": True, "/health": True, "/healthy": False, "/a.css/b": False, "/x/health": False,
    }.items():
        assert is_excluded(path) == expected, path


@pytest.mark.parametrize("name", ["exclude", "local_attributes"])
def test_a_pattern_that_is_none_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name} .*'\*\.css' is no regular expression"):
        Settings(**{name: ("*.css",)})  # type: ignore[arg-type]


@pytest.mark.parametrize(("path", "stripped", "value"), [
    ("/cart", "/cart", None),
    ("/cart;jsessionid=abc.a", "/cart", "abc.a"),
    ("/cart;jsessionid=abc.a/items", "/cart/items", "abc.a"),
    ("/cart;x=1;jsessionid=abc.a;y=2", "/cart;x=1;y=2", "abc.a"),
    ("/cart;jsessionid=one/x;jsessionid=two", "/cart/x", "two"),
    (";jsessionid=abc", "/", "abc"),
    ("/cart;jsessionid=", "/cart", ""),
    ("/cart;JSESSIONID=abc", "/cart;JSESSIONID=abc", None),
    ("/jsessionid=abc", "/jsessionid=abc", None),
])  # fmt: skip
def test_the_path_parameter(path: str, stripped: str, value: str | None) -> None:
    parameter = PathParameter("jsessionid")
    assert parameter.split(path) == (stripped, value)
    if value is not None:
        assert parameter.strip_raw(path.encode()) == stripped.encode()


@pytest.mark.parametrize("path", [
    "/public/..;jsessionid=x/admin", "/;jsessionid=x/evil.example", "/a/.;jsessionid=/b",
    "/a/..;jsessionid=x", "/a/;jsessionid=1/b", ";jsessionid=1/evil.example",
    "/static/..;jsessionid=1/..;jsessionid=1/etc/passwd", "..;jsessionid=1",
    "/.;jsessionid=1;jsessionid=2/b", "/a/.;jsessionid=.",
])  # fmt: skip
def test_a_path_that_leads_elsewhere_without_the_parameter_is_refused(path: str) -> None:
    with pytest.raises(MisleadingPath, match="jsessionid"):
        PathParameter("jsessionid").split(path)


@pytest.mark.parametrize(("path", "stripped"), [
    ("/;jsessionid=x", "/"), ("/shop/;jsessionid=x", "/shop/"), ("//a;jsessionid=x", "//a"),
    ("/../a;jsessionid=x", "/../a"), ("/a;jsessionid=x/", "/a/"), ("/...;jsessionid=x", "/..."),
])  # fmt: skip
def test_what_the_client_could_have_said_without_it_stays(path: str, stripped: str) -> None:
    assert PathParameter("jsessionid").split(path) == (stripped, "x")


def test_an_excluded_session_reads_as_empty_and_refuses_every_change() -> None:
    session = ExcludedSession(World().manager)
    session.mark_accessed()
    assert session == {}
    assert session.get("user") is None
    assert "user" not in session
    assert session.principal is None
    for change in (
        lambda: session.__setitem__("a", 1), lambda: session.pop("a", None), session.clear,
        lambda: session.update(a=1), lambda: session.setdefault("a", 1), session.rotate,
        session.invalidate, lambda: setattr(session, "principal", "ann"),
        lambda: setattr(session, "permanent", True), lambda: setattr(session, "idle_timeout", 5.0),
        lambda: setattr(session, "label", "Firefox"), lambda: setattr(session, "lifetime", 5.0),
    ):
        with pytest.raises(SessionError, match="exclude"):
            change()


def test_an_excluded_session_needs_no_garbage_collection() -> None:
    session = ExcludedSession(World().manager)
    gone = ref(session)
    gc.disable()
    try:
        del session
        assert gone() is None
    finally:
        gc.enable()
