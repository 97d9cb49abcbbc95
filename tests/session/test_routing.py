"""When the route in the cookie is rewritten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.placement import owner
from clustersession.session.routing import KEEP, Decision, decide, route_for_new

KEY = "k" * 23
ROUTES = st.sampled_from(["a", "b", "c", "d"])


def test_own_route_stays() -> None:
    assert decide("failover", KEY, "a", "a", frozenset("ab")) == KEEP


def test_a_live_foreign_route_stays_and_is_counted() -> None:
    assert decide("failover", KEY, "b", "a", frozenset("ab")) == Decision(strayed=True)


def test_a_dead_route_moves_to_the_owner() -> None:
    new = owner(KEY, frozenset("ab"))
    assert decide("failover", KEY, "dead", "a", frozenset("ab")) == Decision(new, failover=True)


def test_a_missing_route_becomes_ours() -> None:
    for rewrite in ("failover", "always", "never"):
        assert decide(rewrite, KEY, None, "a", frozenset("ab")).route == "a"


def test_draining_gives_sessions_away_when_others_serve() -> None:
    assert decide("failover", KEY, "a", "a", frozenset("b")) == Decision("b", failover=True)
    assert decide("failover", KEY, "a", "a", frozenset()) == KEEP
    assert route_for_new(KEY, "a", frozenset("b")) == "b"
    assert route_for_new(KEY, "a", frozenset("ab")) == "a"
    assert route_for_new(KEY, "a", frozenset()) == "a"


def test_always_takes_every_session() -> None:
    assert decide("always", KEY, "b", "a", frozenset("ab")) == Decision("a")
    assert decide("always", KEY, "a", "a", frozenset("ab")) == KEEP


def test_always_takes_none_while_draining() -> None:
    assert decide("always", KEY, "a", "a", frozenset("b")) == Decision("b", failover=True)
    assert decide("always", KEY, "b", "a", frozenset("b")) == Decision(strayed=True)
    assert decide("always", KEY, "a", "a", frozenset()) == KEEP


def test_never_leaves_even_a_dead_route() -> None:
    assert decide("never", KEY, "dead", "a", frozenset("ab")).route is None


@given(ROUTES, ROUTES, ROUTES, st.frozensets(ROUTES, min_size=1))
def test_all_survivors_agree_and_the_answer_is_stable(
    cookie: str, one: str, two: str, serving: frozenset[str]
) -> None:
    first = decide("failover", KEY, cookie, one, serving)
    second = decide("failover", KEY, cookie, two, serving)
    assert first.route == second.route
    if first.route is not None:
        assert decide("failover", KEY, first.route, two, serving).route is None


@pytest.mark.parametrize("rewrite", ["failover", "always", "never"])
def test_nothing_is_written_twice(rewrite: str) -> None:
    serving = frozenset("ab")
    decision = decide(rewrite, KEY, "dead", "a", serving)  # type: ignore[arg-type]
    if decision.route is not None:
        again = decide(rewrite, KEY, decision.route, "a", serving)  # type: ignore[arg-type]
        assert again.route is None
