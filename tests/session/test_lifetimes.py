"""How long a cookie lives, and when a request renews it."""

import pytest

from clustersession.session.lifetimes import utc
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
