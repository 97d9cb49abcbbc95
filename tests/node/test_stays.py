"""Which sessions stay here because somebody has asked for them."""

from clustersession.core.state import SessionState
from clustersession.node.moment import Moment
from clustersession.node.stays import (
    BROUGHT_STAYS_CROWDED_S,
    BROUGHT_STAYS_S,
    LISTED_STAYS_S,
    Stays,
)

START = Moment(100.0, 1_000_000)


def used(accessed_ms: int) -> SessionState:
    return SessionState(0, accessed_ms, 2_000_000)


def later(seconds: float) -> Moment:
    return Moment(START.now_s + seconds, START.wall_ms + round(1000 * seconds))


def holds(
    stays: Stays, key: str, accessed_ms: int, after_s: float = 0, *, crowd: bool = False
) -> bool:
    return stays.holds(key, used(accessed_ms), later(after_s), crowded=crowd)


def test_what_a_request_was_brought_stays_until_it_is_used_or_there_was_time_enough() -> None:
    stays = Stays()
    assert not holds(stays, "a", 0)
    stays.bring("a", START)
    assert holds(stays, "a", 0)
    assert not holds(stays, "a", START.wall_ms)
    assert not holds(stays, "b", 0)
    stays.tick(later(BROUGHT_STAYS_S - 1))
    assert holds(stays, "a", 0)
    stays.tick(later(BROUGHT_STAYS_S))
    assert not holds(stays, "a", 0)


def test_what_is_listed_stays_for_a_moment_whoever_uses_it() -> None:
    stays = Stays()
    stays.list("a", START)
    assert holds(stays, "a", START.wall_ms)
    stays.tick(later(LISTED_STAYS_S - 1))
    assert holds(stays, "a", START.wall_ms)
    stays.tick(later(LISTED_STAYS_S))
    assert not holds(stays, "a", 0)


def test_what_was_brought_stays_for_a_shorter_time_where_there_are_too_many() -> None:
    stays = Stays()
    stays.bring("a", START)
    assert holds(stays, "a", 0, BROUGHT_STAYS_CROWDED_S - 1, crowd=True)
    assert not holds(stays, "a", 0, BROUGHT_STAYS_CROWDED_S, crowd=True)
    assert holds(stays, "a", 0, BROUGHT_STAYS_CROWDED_S)
    stays.list("a", START)
    assert holds(stays, "a", 0, BROUGHT_STAYS_CROWDED_S, crowd=True)
