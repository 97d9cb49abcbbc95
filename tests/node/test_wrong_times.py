"""A replica whose times nobody's clock has shown yet: when the node begins again for that."""

import pytest

from clustersession.core.clock import first_time, wall_ms_of
from clustersession.core.identity import Phase
from clustersession.core.state import Change, Creation
from clustersession.node import news
from clustersession.node.engine import Engine
from clustersession.node.moment import Moment
from clustersession.node.wrong_times import TICKS_MIN, WrongTimes
from clustersession.replica.opening import open_memory
from tests.node.lives import WALL_MS, FakeLink, at, life_over, peer, taken

YEAR_MS = 365 * 86_400_000
KEY = "1" * 23


def poisoned() -> Engine:
    """A node that wrote while its clock was a year ahead; nobody else is there yet."""
    replica = open_memory(b"a" * 8, clock_skew_ms_max=600_000)
    wrong_ms = WALL_MS + YEAR_MS
    creation = Creation(wrong_ms, wrong_ms + 86_400_000, 0)
    replica.commit([Change(KEY, wrong_ms, {"a": b"1"}, creation=creation)], wrong_ms)
    return life_over(replica).engine


def begins_again(watch: WrongTimes, engine: Engine, ticks: int = TICKS_MIN) -> bool:
    engine.news()
    for _ in range(ticks):
        watch.check(at())
    return any(isinstance(told, news.TimesWrong) for told in engine.news())


@pytest.mark.parametrize(
    ("clocks_ms", "begins"),
    [
        ([], False),
        ([0], True),
        ([YEAR_MS], False),
        ([0, 200_000, YEAR_MS], True),
        ([0, YEAR_MS], False),
    ],
)
def test_most_peers_must_show_the_same_time(clocks_ms: list[int], begins: bool) -> None:
    engine = poisoned()
    watch = WrongTimes(engine.context)
    for number, ahead_ms in enumerate(clocks_ms):
        watch.on_heartbeat(b"%d" % number, WALL_MS + ahead_ms, at())
    assert begins_again(watch, engine) is begins


def test_one_look_is_not_enough() -> None:
    engine = poisoned()
    watch = WrongTimes(engine.context)
    watch.on_heartbeat(b"b", WALL_MS, at())
    assert not begins_again(watch, engine, TICKS_MIN - 1)
    watch.forget(b"b")
    assert not begins_again(watch, engine, 1)
    watch.on_heartbeat(b"b", WALL_MS, at())
    assert not begins_again(watch, engine, TICKS_MIN - 1), "counted anew"


def test_when_our_own_clock_is_set_back_the_replica_is_not_to_blame() -> None:
    replica = open_memory(b"a" * 8, clock_skew_ms_max=600_000)
    creation = Creation(WALL_MS, WALL_MS + 1000, 0)
    replica.commit([Change(KEY, WALL_MS, {"a": b"1"}, creation=creation)], WALL_MS)
    engine = life_over(replica).engine
    watch = WrongTimes(engine.context)
    # Heard while our clock was right; it goes by what has passed since.
    watch.on_heartbeat(b"b", WALL_MS, at())
    engine.news()
    for second in range(1, 2 * TICKS_MIN):
        watch.check(Moment(float(second), WALL_MS - YEAR_MS + second * 1000))
    assert not engine.news()


def test_the_node_goes_on_under_a_new_id_with_times_of_now() -> None:
    replica = open_memory(b"a" * 8, clock_skew_ms_max=600_000)
    creation = Creation(WALL_MS, WALL_MS + 2 * YEAR_MS, 0)
    replica.commit([Change(KEY, WALL_MS, {"a": b"1"}, creation=creation)], WALL_MS)
    wrong_ms = WALL_MS + YEAR_MS
    replica.commit([Change(KEY, WALL_MS, {"a": b"2"})], wrong_ms)
    life = life_over(replica)
    life.accepted(FakeLink(peer()), at())
    taken(life)
    life.engine.context.phase = Phase.READY
    life.engine.wrong_times.on_heartbeat(peer().node, WALL_MS, at())
    for _ in range(TICKS_MIN):
        life.engine.wrong_times.check(at())
    taken(life)
    assert replica.node != b"a" * 8
    assert replica.highest_ms() == WALL_MS
    state = replica.get(KEY)
    assert state is not None
    register = state.registers["a"]
    assert (register.value, register.node) == (b"2", replica.node)
    assert wall_ms_of(register.time) == WALL_MS
    assert register.time > first_time(WALL_MS)
    assert [delta.key for delta in replica.feed(0, 0, 10_000).deltas] == [KEY]
