"""Clients without cookies: when an answer names the id in a header, and when it must not."""

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.requests.answer import AnswerWriter
from clustersession.session.outcome import Outcome
from clustersession.settings.settings import Settings
from tests.session.fakes import World

SETTINGS = Settings(header_name="X-Session")


def test_a_new_session_of_a_client_with_the_header() -> None:
    world = World()
    session = world.open([], "")
    session["a"] = 1
    outcome = world.commit(session)
    assert outcome.set_cookie is None
    assert outcome.set_header == f"{session.sid}.a"
    assert AnswerWriter(SETTINGS).lines(outcome, []) == [
        ("X-Session", f"{session.sid}.a"), ("Cache-Control", "no-store"),
        ("Vary", "Cookie, X-Session"),
    ]  # fmt: skip
    again = world.open([], outcome.set_header)
    assert again == {"a": 1}
    assert world.commit(again) == Outcome(vary=True)
    rotated = world.open([], outcome.set_header)
    rotated.rotate()
    moved = world.commit(rotated).set_header
    assert moved is not None
    assert moved != outcome.set_header
    ended = world.open([], moved)
    ended.invalidate()
    assert world.commit(ended) == Outcome(vary=True, set_header="")


def test_a_failover_tells_the_client_its_new_route() -> None:
    world = World()
    session = world.open([], "")
    session["a"] = 1
    value = world.commit(session).set_header
    assert value is not None
    world.cluster.route, world.cluster.serving = "b", frozenset({"b"})
    session = world.open([], value)
    assert world.commit(session).set_header == value.replace(".a", ".b")


def test_without_cookies_and_header_both_are_tried() -> None:
    world = World()
    session = world.open([], cookieless=True)
    session["a"] = 1
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert outcome.set_header is not None


def test_a_browser_is_not_told() -> None:
    world = World()
    cookie = world.store(a=1)
    session = world.open([cookie])
    session.rotate()
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert outcome.set_header is None


def test_vary_names_what_is_not_named_yet() -> None:
    answers = AnswerWriter(SETTINGS)
    outcome = Outcome(vary=True)
    assert answers.lines(outcome, ["Accept, cookie"]) == [("Vary", "X-Session")]
    assert answers.lines(outcome, ["*"]) == []
    assert AnswerWriter(Settings()).lines(outcome, ["Accept", "COOKIE"]) == []


def test_a_header_with_a_meaning_of_its_own_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="make up one"):
        Settings(header_name="Authorization")
