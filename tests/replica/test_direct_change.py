"""Taking a change ahead of its stream, on every engine."""

from dataclasses import replace

import pytest

from clustersession.core.feed import Batch, Cursor
from clustersession.core.revocation import revoke
from clustersession.core.state import PRINCIPAL, Delta, Ended, Register, SessionState, delta_since
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from tests.replica.replica_checks import (
    NODE_B,
    NODE_C,
    SKEW_MS,
    WALL_MS,
    check,
    creation,
    end,
    key_of,
    write,
)


def elsewhere(replica: Replica, **values: str) -> Replica:
    """Another node with a session that ours has received as well, and the cursor that goes with it.
    """
    other = open_memory(NODE_B, clock_skew_ms_max=SKEW_MS)
    sets = {PRINCIPAL if n == "user" else n: v.encode() for n, v in {"a": "1", **values}.items()}
    other.commit([creation(1, sets)], WALL_MS)
    replica.apply(other.feed(0, 0, 2**20), WALL_MS)
    return other


def change_of(other: Replica, base: int, *, name: str = "a", value: str = "2") -> Batch:
    """A change there, as its worker sends it."""
    committed = other.commit([write(1, **{name: value.encode()})], WALL_MS)
    state = committed.states[0]
    assert state is not None
    return sent(state, base, committed.head)


def sent(state: SessionState, base: int, seq: int) -> Batch:
    delta = delta_since(key_of(1), state, NODE_B, seq - 1)
    return Batch(NODE_B, base, seq - 1, seq, seq, [Delta(delta.key, delta.state, full=False)])


def value(replica: Replica, name: str = "a") -> bytes | None:
    state = replica.get(key_of(1))
    register = None if state is None else state.registers.get(name)
    return None if register is None else register.value


def test_a_change_is_here_and_the_cursor_is_where_it_was(replica: Replica) -> None:
    other = elsewhere(replica)
    batch = change_of(other, 1)
    assert replica.take(batch, WALL_MS)
    assert value(replica) == b"2"
    assert replica.cursors() == {NODE_B: Cursor(1, 1)}
    assert replica.known(NODE_B) == 2
    check(replica)
    assert replica.take(batch, WALL_MS)
    # The stream brings it once more, and is not taken for a gap.
    applied = replica.apply(other.feed(1, 1, 2**20), WALL_MS)
    assert applied.cursor == Cursor(2, 2)
    assert replica.get(key_of(1)) == other.get(key_of(1))
    check(replica)


def test_a_change_without_what_it_stands_on_leaves_nothing(replica: Replica) -> None:
    other = elsewhere(replica)
    change_of(other, 1, name="b")
    late = change_of(other, 2)
    assert not replica.take(late, WALL_MS)
    assert value(replica) == b"1"
    assert replica.known(NODE_B) == 0
    replica.apply(other.feed(1, 1, 2**20), WALL_MS)
    assert replica.take(late, WALL_MS)
    check(replica)


def test_a_session_that_is_not_here_is_not_made_of_a_part(replica: Replica) -> None:
    other = elsewhere(replica)
    other.commit([creation(2, {"a": b"1"})], WALL_MS)
    state = other.commit([write(2, a=b"2")], WALL_MS).states[0]
    assert state is not None
    part = delta_since(key_of(2), state, NODE_B, 2)
    for base in (0, 2):
        assert not replica.take(Batch(NODE_B, base, 2, 3, 3, [part]), WALL_MS)
    assert replica.get(key_of(2)) is None
    check(replica)


def test_an_end_wins(replica: Replica) -> None:
    other = elsewhere(replica)
    replica.commit([end(1)], WALL_MS)
    assert not replica.take(change_of(other, 1), WALL_MS)
    state = replica.get(key_of(1))
    assert state is not None
    assert state.ended is not None
    check(replica)


def test_a_revocation_wins(replica: Replica) -> None:
    other = elsewhere(replica, user="ann")
    replica.commit([revoke("ann", "", WALL_MS + 1, SKEW_MS)], WALL_MS + 1)
    assert not replica.take(change_of(other, 1), WALL_MS)
    check(replica)


def test_times_of_the_future_our_own_and_more_than_one_are_refused(replica: Replica) -> None:
    other = elsewhere(replica)
    batch = change_of(other, 1)
    (delta,) = batch.deltas
    register = Register((WALL_MS + 2 * SKEW_MS) << 16, NODE_B, 2, b"x")
    future = SessionState(0, WALL_MS, WALL_MS * 2, {"a": register}, {NODE_B: 2})
    assert not replica.take(Batch(NODE_B, 1, 1, 2, 2, [Delta(key_of(1), future, False)]), WALL_MS)
    assert not replica.take(Batch(replica.node, 1, 1, 2, 2, [delta]), WALL_MS)
    assert not replica.take(Batch(NODE_B, 1, 1, 2, 2, [delta, delta]), WALL_MS)
    assert not replica.take(Batch(NODE_B, 1, 1, 2, 2, []), WALL_MS)
    assert value(replica) == b"1"
    check(replica)


def whole(other: Replica, number: int = 1) -> Batch:
    """A session there with all that was written to it, as its agent sends it."""
    state, head = other.get(key_of(number)), other.head()
    assert state is not None
    return Batch(NODE_B, 0, head - 1, head, head, [Delta(key_of(number), state, full=True)])


def test_a_whole_copy_needs_nothing_to_stand_on(replica: Replica) -> None:
    other = elsewhere(replica)
    change_of(other, 1, name="b")
    change_of(other, 2)
    other.commit([creation(2, {"a": b"1"})], WALL_MS)
    for number in (1, 2):
        assert replica.take(whole(other, number), WALL_MS)
        assert replica.get(key_of(number)) == other.get(key_of(number))
    assert replica.cursors() == {NODE_B: Cursor(1, 1)}
    assert replica.known(NODE_B) == 4
    check(replica)


def test_a_whole_end_is_taken_and_a_whole_copy_from_before_it_is_not(replica: Replica) -> None:
    other = elsewhere(replica)
    change_of(other, 1)
    before = whole(other)
    other.commit([end(1)], WALL_MS)
    assert replica.take(whole(other), WALL_MS)
    assert not replica.take(before, WALL_MS)
    state = replica.get(key_of(1))
    assert state is not None
    assert state.ended is not None
    check(replica)


def test_of_several_copies_all_are_taken_or_the_answer_is_no(replica: Replica) -> None:
    other = elsewhere(replica)
    change_of(other, 1)
    other.commit([creation(2, {"a": b"1"})], WALL_MS)
    replica.commit([end(1)], WALL_MS)
    (first,), (second,) = whole(other, 1).deltas, whole(other, 2).deltas
    assert not replica.take(replace(whole(other), deltas=[first, second]), WALL_MS)
    assert replica.take(replace(whole(other), deltas=[second, second]), WALL_MS)
    check(replica)


def test_ends_and_others_writes_in_parts_are_refused(replica: Replica) -> None:
    other = elsewhere(replica)
    batch = change_of(other, 1)
    (delta,) = batch.deltas
    ended = replace(delta.state, registers={}, ended=Ended(1, NODE_B, "invalidated"))
    for wrong in (
        replace(delta, state=ended),
        replace(delta, state=replace(delta.state, versions={NODE_B: 2, NODE_C: 9})),
        replace(delta, state=replace(delta.state, versions={NODE_B: 3})),
    ):
        assert not replica.take(replace(batch, deltas=[wrong]), WALL_MS)
    assert value(replica) == b"1"
    check(replica)


def test_who_watches_is_told(replica: Replica) -> None:
    other = elsewhere(replica)
    seen: list[str] = []
    replica.observe(lambda stored: seen.extend(key for key, *_ in stored))
    batch = change_of(other, 1)
    assert replica.take(batch, WALL_MS)
    assert replica.take(batch, WALL_MS)
    assert seen == [key_of(1)]


@pytest.mark.parametrize("again", [1, 2])
def test_what_is_known_only_grows(replica: Replica, again: int) -> None:
    other = elsewhere(replica)
    batches = [change_of(other, 1), change_of(other, 2)]
    for batch in batches * again:
        assert replica.take(batch, WALL_MS)
    assert replica.known(NODE_B) == 3
