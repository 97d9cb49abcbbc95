"""How long a cookie lives, and when a request renews it."""

from typing import Any

import pytest

from clustersession.session.lifetimes import utc
from clustersession.session.session import Session
from clustersession.session.visit import visit_of
from tests.session.fakes import World, cookie_of

MINUTE_MS = 60_000


def test_a_cookie_with_a_lifetime_is_refreshed_once_in_a_quarter() -> None:
    world = World(cookie_max_age_s=3600, idle_timeout_s=7200)
    cookie = world.store(a=1)
    refreshed = 0
    for _ in range(120):
        world.now_ms += MINUTE_MS
        outcome = world.commit(world.open([cookie]))
        if outcome.set_cookie is not None:
            refreshed += 1
            assert "Max-Age=3600" in outcome.set_cookie
    assert refreshed == 8


def test_without_sliding_only_writes_refresh() -> None:
    world = World(cookie_max_age_s=3600, idle_timeout_s=7200, sliding=False)
    cookie = world.store(a=1)
    for _ in range(30):
        world.now_ms += MINUTE_MS
        assert world.commit(world.open([cookie])).set_cookie is None
    session = world.open([cookie])
    session["a"] = 2
    world.commit(session)


def test_permanent_sessions_outlive_the_browser() -> None:
    world = World(permanent_lifetime_s=86_400.0)
    session = world.open([])
    session.permanent = True
    session["a"] = 1
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert "Max-Age=86400" in outcome.set_cookie
    cookie = cookie_of(outcome.set_cookie)
    world.now_ms += 120 * MINUTE_MS
    session = world.open([cookie])
    session.permanent = True
    assert session["a"] == 1
    assert world.commit(session).set_cookie is None
    session = world.open([cookie])
    session.permanent = False
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert "Max-Age" not in outcome.set_cookie
    assert world.open([cookie]).idle_timeout == 1800.0


@pytest.mark.parametrize(("wall_ms", "year"), [
    (0, 1970), (-(2**63), 1970), (1_700_000_000_000, 2023), (253_402_300_799_999, 9999),
    (253_402_300_800_000, 9999), (2**63 - 1, 9999), (2**64, 9999),
])
def test_a_moment_that_no_calendar_has_is_shown_as_the_last(wall_ms: int, year: int) -> None:
    assert utc(wall_ms).year == year


DAY_S = 86_400.0
HOUR_S = 3_600.0


def life_s(world: World, session: Session) -> float:
    state = visit_of(session).state
    assert state is not None
    return (state.deadline_ms - state.created_ms) / 1000


def begun(world: World, **settings: Any) -> Session:
    session = world.open([])
    session["a"] = 1
    for name, value in settings.items():
        setattr(session, name, value)
    world.commit(session)
    return session


@pytest.mark.parametrize(("options", "anonymous_s", "users_s"), [
    ({}, DAY_S, 7 * DAY_S),
    ({"anonymous_absolute_timeout_s": 3600}, HOUR_S, 7 * DAY_S),
    ({"idle_timeout_s": 14 * DAY_S}, 14 * DAY_S, 56 * DAY_S),
    ({"idle_timeout_s": 14 * DAY_S, "anonymous_absolute_timeout_s": DAY_S}, DAY_S, 56 * DAY_S),
    ({"absolute_timeout_s": 2 * HOUR_S}, 2 * HOUR_S, 2 * HOUR_S),
    ({"anonymous_absolute_timeout_s": 99 * DAY_S}, 7 * DAY_S, 7 * DAY_S),
])
def test_a_session_without_a_principal_has_a_deadline_of_its_own(
    options: dict[str, Any], anonymous_s: float, users_s: float
) -> None:
    world = World(**options)
    assert life_s(world, begun(world)) == anonymous_s
    assert life_s(world, begun(world, principal="ann")) == users_s


def test_what_the_application_asks_for_is_kept_without_a_principal() -> None:
    world = World(permanent_lifetime_s=31 * DAY_S, absolute_timeout_s=124 * DAY_S)
    assert life_s(world, begun(world, permanent=True)) == 124 * DAY_S
    assert life_s(world, begun(world, lifetime=3 * DAY_S)) == 3 * DAY_S
    assert life_s(world, begun(world, idle_timeout=2 * DAY_S)) == 124 * DAY_S
    assert life_s(world, begun(world, idle_timeout=0)) == 124 * DAY_S
    # To end sooner is to ask for no longer life.
    assert life_s(world, begun(world, idle_timeout=60.0)) == DAY_S


@pytest.mark.parametrize("asks", [
    {"principal": "ann"}, {"permanent": True}, {"idle_timeout": 2 * DAY_S},
])
def test_one_that_outgrows_it_moves_to_a_new_id_with_the_whole_life(asks: dict[str, Any]) -> None:
    world = World(permanent_lifetime_s=31 * DAY_S, absolute_timeout_s=124 * DAY_S)
    cookie = world.store(a=1)
    before = world.replica.states[cookie[:23]]
    world.now_ms += 60_000
    session = world.open([cookie])
    for name, value in asks.items():
        setattr(session, name, value)
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    new = cookie_of(outcome.set_cookie)
    assert new[:39] != cookie[:39]
    assert world.open([cookie]).new
    assert world.open([new])["a"] == 1
    after, ended = world.replica.states[new[:23]], world.replica.states[cookie[:23]]
    assert after.created_ms == before.created_ms
    assert after.deadline_ms == before.created_ms + 124 * DAY_S * 1000
    assert ended.ended is not None
    assert ended.deadline_ms == before.created_ms + DAY_S * 1000
    # From now on it is as any user's: nothing moves it again.
    session = world.open([new])
    session.principal = "bob"
    assert world.commit(session).set_cookie is None


def test_a_login_that_rotates_gives_the_whole_life_and_a_rotation_alone_does_not() -> None:
    world = World()
    session = world.open([world.store(a=1)])
    session.rotate()
    world.commit(session)
    assert life_s(world, session) == DAY_S
    session = world.open([visit_of(session).identifier or ""])
    session.rotate()
    session.principal = "ann"
    world.commit(session)
    assert life_s(world, session) == 7 * DAY_S


def test_once_the_headers_are_out_it_keeps_its_id_and_its_deadline() -> None:
    world = World()
    cookie = world.store(a=1)
    session = world.open([cookie])
    world.answer(session)
    session.principal = "ann"
    world.save(session)
    assert visit_of(session).key == cookie[:23]
    assert session.principal == "ann"
    assert life_s(world, session) == DAY_S
