"""A feed is begun anew under a new node id, and no place in it is given out twice."""

from clustersession.core.feed import Cursor
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
