"""A feed is begun anew under a new node id, and no place in it is given out twice."""

from clustersession.core.clock import wall_ms_of
from clustersession.core.feed import Cursor
from clustersession.core.state import ENDED_INVALIDATED, Change
from tests.replica.conftest import SKEW_MS
from tests.replica.replica_checks import (
    NODE_A,
    NODE_B,
    NODE_C,
    WALL_MS,
    Open,
    check,
    creation,
    key_of,
    sessions_of,
    write,
)


def test_a_new_identity_starts_a_new_feed_and_keeps_the_sessions(open_replica: Open) -> None:
    a = open_replica(NODE_A)
    a.commit([creation(1), creation(2), write(1, x=b"1")], WALL_MS)
    a.inherit({NODE_B: Cursor(4, 4)})
    before = sessions_of(a)
    a.renew_identity(NODE_C, a.head())
    assert (a.node, a.head(), a.feed(0, 0, 100).deltas) == (NODE_C, 0, [])
    assert sessions_of(a) == before
    assert a.cursors() == {NODE_B: Cursor(4, 4)}
    # The places remembered from the old feed are 2 and 3; new ones must not be mistaken for them.
    for number in (2, 2, 2, 1, 2, 1, 3):
        a.commit([creation(3) if number == 3 else write(number, x=b"2")], WALL_MS)
        check(a)
    assert [d.key for d in a.feed(0, 0, 2**20).deltas] == [key_of(2), key_of(1), key_of(3)]


def test_a_new_identity_takes_over_what_was_written_since_the_opening(open_replica: Open) -> None:
    a = open_replica(NODE_A)
    a.commit([creation(1, {"x": b"1"}), creation(2, {"x": b"1"})], WALL_MS)
    a.note_opening()
    a.commit([write(1, y=b"2"), creation(3, {"x": b"3"})], WALL_MS)
    floor = a.opening()
    assert floor == 2
    before = {key: dict(state.registers) for key, state in sessions_of(a).items()}
    a.renew_identity(NODE_C, floor)
    check(a)
    first, second, third = (sessions_of(a)[key_of(number)] for number in (1, 2, 3))
    assert (first.versions, second.versions) == ({NODE_A: 2, NODE_C: 1}, {NODE_A: 2})
    assert third.versions == {NODE_A: 2, NODE_C: 2}
    assert (first.registers["x"].node, first.registers["y"].node) == (NODE_A, NODE_C)
    assert first.registers["y"].time == before[key_of(1)]["y"].time + 1
    # The next write must be dated after that.
    a.commit([write(3, x=b"4")], WALL_MS)
    assert sessions_of(a)[key_of(3)].registers["x"].time > third.registers["x"].time
    assert [delta.key for delta in a.feed(0, 0, 2**20).deltas] == [key_of(1), key_of(3)]


def test_where_the_feed_stood_at_the_opening_is_known_until_it_is_forgotten(
    open_replica: Open,
) -> None:
    a = open_replica(NODE_A)
    a.commit([creation(1)], WALL_MS)
    a.note_opening()
    a.commit([write(1, x=b"1")], WALL_MS)
    assert (a.opening(), a.opening()) == (1, 1)
    a.forget_opening()
    assert a.opening() == 2


def test_wrong_times_are_written_again_in_their_order_and_an_end_stays_one(
    open_replica: Open,
) -> None:
    a = open_replica(NODE_A)
    a.commit([creation(1, {"x": b"1"}), creation(2, {"x": b"1"}), creation(3)], WALL_MS)
    # Only so far ahead that what lives now has not expired by then.
    wrong_ms = WALL_MS + 2 * SKEW_MS
    a.commit([write(2, x=b"2")], wrong_ms)
    a.commit([write(1, x=b"3"), creation(4, wall_ms=wrong_ms)], wrong_ms)
    a.commit([Change(key_of(3), wrong_ms, end=ENDED_INVALIDATED)], wrong_ms)
    before = sessions_of(a)
    a.renew_identity(NODE_C, a.head(), WALL_MS)
    check(a)
    after = sessions_of(a)
    second, first = (after[key_of(number)].registers["x"] for number in (2, 1))
    assert (second.value, first.value) == (b"2", b"3")
    assert WALL_MS <= wall_ms_of(second.time) <= wall_ms_of(first.time) == WALL_MS
    assert second.time < first.time
    ended = after[key_of(3)].ended
    assert ended is not None
    assert (ended.node, ended.reason, wall_ms_of(ended.time)) == (
        NODE_C, ENDED_INVALIDATED, WALL_MS,
    )
    fourth = after[key_of(4)]
    assert (fourth.created_ms, fourth.accessed_ms) == (WALL_MS, WALL_MS)
    assert fourth.deadline_ms == before[key_of(4)].deadline_ms - 2 * SKEW_MS
    assert a.highest_ms() == WALL_MS
    b = open_replica(NODE_B)
    b.commit([creation(9)], WALL_MS)
    applied = b.apply(a.feed(0, 0, 2**20), WALL_MS)
    assert not applied.refused_future
    assert {d.key for d in a.feed(0, 0, 2**20).deltas} == {key_of(n) for n in (1, 2, 3, 4)}


def test_times_that_peers_accept_stay_as_they_are(open_replica: Open) -> None:
    a = open_replica(NODE_A)
    a.commit([creation(1, {"x": b"1"})], WALL_MS + SKEW_MS)
    before = sessions_of(a)
    a.renew_identity(NODE_C, a.head(), WALL_MS)
    assert sessions_of(a) == before
