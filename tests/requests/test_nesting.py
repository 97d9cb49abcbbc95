"""Which adapter around this one has opened the session of the same request, and not of another."""

from collections.abc import Iterator
from typing import Any

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.requests.nesting import (
    agree,
    check_inside,
    expect_bridges,
    find_outer,
    leave_word,
    place_of,
    same_cookies,
)
from clustersession.session.visit import Visit
from clustersession.settings.settings import Settings
from clustersession.worker.runtime import Runtime
from tests.session.fakes import World

PLACE = place_of(Settings())


@pytest.fixture
def visit() -> Visit:
    world = World()
    visit = world.manager.open([])
    world.manager.open_visits.add(visit)
    return visit


@pytest.fixture
def scope(visit: Visit) -> Iterator[dict[str, Any]]:
    """The scope of a request whose session is open, in a bridge's thread."""
    scope = {
        "type": "http", "method": "GET", "path": "/shop/caf\u00e9", "query_string": b"a=1",
        "client": ("192.0.2.1", 4711), PLACE: visit,
        "headers": [
            (b"host", b"shop"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"accept", b"x"),
            (b"accept", b"y"), (b"content-length", b"0"),
        ],
    }  # fmt: skip
    expect_bridges()
    before = leave_word(scope)
    yield scope
    leave_word(before)


def environ(**changes: Any) -> dict[str, Any]:
    """What a bridge makes of that."""
    made = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/shop", "PATH_INFO": "/caf\u00c3\u00a9",
        "QUERY_STRING": "a=1", "REMOTE_ADDR": "192.0.2.1", "CONTENT_LENGTH": "0",
        "HTTP_HOST": "shop", "HTTP_COOKIE": "a=1,b=2", "HTTP_ACCEPT": "x,y",
    }  # fmt: skip
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def test_it_is_found_in_the_requests_own_dict(visit: Visit) -> None:
    assert find_outer({PLACE: visit}, PLACE) is visit
    assert find_outer({"wsgi_environ": {PLACE: visit}}, PLACE) is visit
    assert find_outer({PLACE: visit}, place_of(Settings(cookie_name="OTHER"))) is None
    assert find_outer({}, PLACE) is None


def test_it_is_not_found_when_its_request_is_over(visit: Visit, scope: dict[str, Any]) -> None:
    World().manager.close(visit)
    assert find_outer(scope, PLACE) is find_outer(environ(), PLACE) is None


def test_a_bridge_from_asgi_is_seen_through(visit: Visit, scope: dict[str, Any]) -> None:
    assert find_outer(environ(), PLACE) is visit
    assert find_outer(environ(HTTP_COOKIE="a=1; b=2"), PLACE) is visit
    assert find_outer(environ(REMOTE_ADDR=None), PLACE) is visit
    # Another application of ASGI has its own scope.
    assert find_outer({"type": "http"}, PLACE) is None


@pytest.mark.parametrize("other", [
    {"REQUEST_METHOD": "POST"}, {"PATH_INFO": "/other"}, {"QUERY_STRING": "a=2"},
    {"REMOTE_ADDR": "127.0.0.1"}, {"HTTP_COOKIE": "a=1"}, {"HTTP_COOKIE": None},
    {"HTTP_HOST": "localhost"}, {"HTTP_X_MORE": "1"}, {"HTTP_ACCEPT": None},
])  # fmt: skip
def test_another_request_in_the_same_context_is_another(
    scope: dict[str, Any], other: dict[str, Any]
) -> None:
    assert find_outer(environ(**other), PLACE) is None


def test_a_websocket_is_no_request_of_wsgi(scope: dict[str, Any]) -> None:
    del scope["method"]
    assert find_outer(environ(), PLACE) is None


@pytest.mark.parametrize(("one", "other", "same"), [
    ("a=1; b=2", "a=1;b=2", True), ("a=1; b=2", "a=1, b=2", True), ("", "", True),
    ("a=1", "a=2", False), ("a=1", "", False), ("a=1; b=2", "b=2; a=1", False),
])  # fmt: skip
def test_which_cookies_are_the_same(one: str, other: str, same: bool) -> None:
    assert same_cookies(one, other) is same


def test_every_setting_that_differs_is_named_with_both_values() -> None:
    outer = Runtime(Settings(idle_timeout_s=60, ack="all", secret=("the first of two",)))
    inner = Runtime(Settings(idle_timeout_s=90, secret=("the second of two",)))
    with pytest.raises(ConfigurationError) as caught:
        agree(outer, inner)
    text = str(caught.value)
    assert "idle_timeout_s is 60 outside and 90 inside" in text
    assert "ack is 'all' outside and 'one' inside" in text
    assert "secret is not the same" in text
    assert "of two" not in text


def test_what_belongs_to_its_place_or_is_implied_by_a_framework_may_differ() -> None:
    outer = Runtime(Settings(exclude=("/a",), ready_path="/r", url_parameter="id"))
    agree(outer, Runtime(Settings()))
    implied = frozenset({"secret"})
    agree(outer, Runtime(Settings(secret=("the key of a framework",)), implied=implied))
    agree(Runtime(Settings(secret=("the key of a framework",)), implied=implied), outer)


def test_the_callbacks_of_both_are_told_once() -> None:
    outer, inner = Runtime(Settings()), Runtime(Settings())
    heard: list[object] = []
    inner.on("ended", heard.append)
    assert not outer.events
    agree(outer, inner)
    agree(outer, inner)
    assert outer.events._callbacks == {"ended": [heard.append]}
    agree(outer, Runtime(Settings(), listeners=outer.events))
    assert outer.events._callbacks == {"ended": [heard.append]}


class Wrapping:
    def __init__(self, app: object, runtime: object = None) -> None:
        self.app = app
        self.runtime = runtime


def test_what_can_be_seen_inside_is_judged_at_once() -> None:
    outer, inner = Runtime(Settings()), Runtime(Settings(idle_timeout_s=60))
    with pytest.raises(ConfigurationError, match="idle_timeout_s"):
        check_inside(Wrapping(Wrapping(None, inner)), outer)
    check_inside(Wrapping(None, Runtime(Settings(cookie_name="OTHER", ack="all"))), outer)
    check_inside(Wrapping(Wrapping(None, "no runtime"), outer), outer)
    endless = Wrapping(None)
    endless.app = endless
    check_inside(endless, outer)
