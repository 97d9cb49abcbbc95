"""A session goes back to what it was before an attempt that is repeated."""

from typing import Any

import pytest

from clustersession.requests.attempts import AttemptStart
from clustersession.session.visit import visit_of
from tests.session.fakes import World


def change(session: Any) -> None:
    session["n"] = 2
    session["list"].append(1)
    session.pop("gone")


def end(session: Any) -> None:
    session.invalidate()
    session["n"] = 3


def log_in(session: Any) -> None:
    session.rotate()
    session.principal = "ann"


@pytest.mark.parametrize("attempt", [change, end, log_in])
def test_what_an_attempt_did_is_not_stored(attempt: Any) -> None:
    world = World()
    cookie = world.store(n=1, list=[], gone=1)
    session = world.open([cookie])
    session["before"] = 1
    start = AttemptStart(visit_of(session))
    attempt(session)
    start.go_back()
    before = {"n": 1, "list": [], "gone": 1, "before": 1}
    assert session == before
    session["list"].append(2)
    assert world.commit(session).set_cookie is None
    assert world.open([cookie]) == {**before, "list": [2]}


def test_a_session_that_an_attempt_began_does_not_begin() -> None:
    world = World()
    session = world.open([])
    start = AttemptStart(visit_of(session))
    session["n"] = 1
    start.go_back()
    assert world.commit(session).set_cookie is None
    assert not world.replica.states


def test_what_an_attempt_has_saved_stays() -> None:
    world = World()
    cookie = world.store(n=1)
    session = world.open([cookie])
    start = AttemptStart(visit_of(session))
    session["n"] = 2
    session.save()
    start.go_back()
    assert session == {"n": 2}
