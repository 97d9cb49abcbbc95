"""Which sessions stay here because somebody has asked for them."""

from clustersession.core.state import SessionState
from clustersession.node.moment import Moment
from clustersession.node.stays import BROUGHT_STAYS_S, LISTED_STAYS_S, Stays

START = Moment(100.0, 1_000_000)


def used(accessed_ms: int) -> SessionState:
    return SessionState(0, accessed_ms, 2_000_000)


def later(seconds: float) -> Moment:
    return Moment(START.now_s + seconds, START.wall_ms + round(1000 * seconds))


def test_what_a_request_was_brought_stays_until_it_is_used_or_there_was_time_enough() -> None:
    stays = Stays()
    assert not stays.holds("a", used(0))
    stays.bring("a", START)
    assert stays.holds("a", used(0))
    assert not stays.holds("a", used(START.wall_ms))
    assert not stays.holds("b", used(0))
    stays.tick(later(BROUGHT_STAYS_S - 1))
    assert stays.holds("a", used(0))
    stays.tick(later(BROUGHT_STAYS_S))
    assert not stays.holds("a", used(0))


def test_what_is_listed_stays_for_a_moment_whoever_uses_it() -> None:
    stays = Stays()
    stays.list("a", START)
    assert stays.holds("a", used(START.wall_ms))
    stays.tick(later(LISTED_STAYS_S - 1))
    assert stays.holds("a", used(START.wall_ms))
    stays.tick(later(LISTED_STAYS_S))
    assert not stays.holds("a", used(0))
