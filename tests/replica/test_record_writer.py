"""What a change or a peer's copy does to one session and to every index of it."""

from dataclasses import replace

from clustersession.core.clock import COUNTER_BITS, wall_ms_of
from clustersession.core.creation_rate import BURST_S
from clustersession.core.feed import START, Batch, Cursor
from clustersession.core.state import Change, Delta, Ended, Register, SessionState, expires_ms
from clustersession.replica import tables
from clustersession.replica.replica import Replica
from tests.replica.replica_checks import (
    IDLE_MS,
    LIFE_MS,
    NODE_A,
    NODE_B,
    NODE_C,
    SKEW_MS,
    WALL_MS,
    Open,
    catch_up,
    check,
    creation,
    end,
    key_of,
    sessions_of,
    write,
)


def test_times_grow_even_when_the_wall_clock_goes_back(replica: Replica) -> None:
    replica.commit([creation(1)], WALL_MS)
    first = replica.commit([write(1, a=b"1")], WALL_MS).states[0]
    second = replica.commit([write(1, a=b"2")], WALL_MS - 60_000).states[0]
    assert first is not None
    assert second is not None
    assert second.registers["a"].time == first.registers["a"].time + 1
    assert second.registers["a"].value == b"2"
    later = replica.commit([write(1, a=b"3")], WALL_MS + 5).states[0]
    assert later is not None
    assert wall_ms_of(later.registers["a"].time) == WALL_MS + 5


def test_a_session_expired_takes_no_write(replica: Replica) -> None:
    state = replica.commit([creation(1)], WALL_MS).states[0]
    assert state is not None
    limit_ms = expires_ms(state)
    assert replica.commit([write(1, wall_ms=WALL_MS, a=b"1")], limit_ms).effective
    assert not replica.commit([write(1, a=b"2")], limit_ms + 1).effective
    check(replica)


def test_an_ended_session_is_ended_for_good(replica: Replica) -> None:
    replica.commit([creation(1, {"a": b"1"})], WALL_MS)
    ended = replica.commit([end(1)], WALL_MS).states[0]
    assert ended is not None
    assert ended.ended is not None
    assert ended.registers == {}
    assert not replica.commit([write(1, a=b"2"), creation(1), end(1)], WALL_MS).effective
    assert replica.stats().tombstones == 1
    assert replica.stats().sessions == 0
    check(replica)


def test_a_stamp_from_the_future_refuses_the_whole_batch(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1)], WALL_MS)
    a.commit([creation(2)], WALL_MS + SKEW_MS + 1)
    applied = b.apply(a.feed(0, 0, 2**20), WALL_MS)
    assert applied.refused_future
    assert (applied.cursor, applied.changed, b.cursors(), sessions_of(b)) == (START, 0, {}, {})
    assert not b.apply(a.feed(0, 0, 2**20), WALL_MS + 1).refused_future
    check(b)


def test_a_peers_time_raises_our_clock(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1, {"x": b"a"})], WALL_MS + SKEW_MS)
    catch_up(b, a)
    state = b.commit([write(1, x=b"b")], WALL_MS).states[0]
    assert state is not None
    assert state.registers["x"].value == b"b"
    assert state.registers["x"].time == ((WALL_MS + SKEW_MS) << COUNTER_BITS) + 1


def test_a_partial_delta_for_a_session_not_held_is_reported_missing(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1), write(1, x=b"1")], WALL_MS)
    b.inherit({NODE_A: Cursor(1, 1)})
    applied = b.apply(a.feed(1, 1, 2**20), WALL_MS)
    assert (applied.missing, applied.changed) == ([key_of(1)], 0)
    assert b.cursors() == {NODE_A: Cursor(2, 2)}
    assert b.get(key_of(1)) is None
    check(b)


def test_expired_sessions_not_held_are_passed_over(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    state = a.commit([creation(1)], WALL_MS).states[0]
    assert state is not None
    late_ms = expires_ms(state) + 1
    assert b.merge([(key_of(1), state)], late_ms) == 0
    applied = b.apply(a.feed(0, 0, 2**20), late_ms)
    assert (applied.changed, applied.missing, applied.cursor) == (0, [], Cursor(1, 1))
    assert sessions_of(b) == {}


def test_partial_deltas_past_the_deadline_are_not_asked_for(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1), write(1, x=b"1")], WALL_MS)
    b.inherit({NODE_A: Cursor(1, 1)})
    assert b.apply(a.feed(1, 1, 2**20), WALL_MS + LIFE_MS + 1).missing == []


def test_a_session_held_is_joined_though_the_copy_looks_expired(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1)], WALL_MS)
    catch_up(b, a)
    late_ms = WALL_MS + 2 * IDLE_MS
    a.commit([write(1, x=b"1")], WALL_MS + 1)
    b.commit([write(1, wall_ms=late_ms)], WALL_MS + IDLE_MS)
    catch_up(b, a, late_ms)
    held = b.get(key_of(1))
    assert held is not None
    assert held.registers["x"].value == b"1"


def test_adopting_keeps_a_sessions_place_in_our_feed(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1), creation(2)], WALL_MS)
    catch_up(b, a)
    b.commit([write(1, x=b"b")], WALL_MS)
    catch_up(a, b)
    batch = a.feed(0, 0, 2**20)
    assert [delta.key for delta in batch.deltas] == [key_of(1), key_of(2)]
    assert batch.upto == 2
    check(a)


def test_an_end_learned_from_a_peer_is_final(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1)], WALL_MS)
    catch_up(b, a)
    b.commit([end(1)], WALL_MS)
    a.commit([write(1, x=b"late")], WALL_MS)
    catch_up(a, b)
    catch_up(b, a)
    for replica in (a, b):
        state = replica.get(key_of(1))
        assert state is not None
        assert state.ended is not None
        assert state.registers == {}
        check(replica)
    assert a.digests() == b.digests()


def test_an_access_moves_the_expiry(replica: Replica) -> None:
    replica.commit([creation(1)], WALL_MS)
    replica.commit([write(1, wall_ms=WALL_MS + IDLE_MS)], WALL_MS + IDLE_MS)
    assert replica.sweep(WALL_MS + IDLE_MS + IDLE_MS, 10) == 0
    check(replica)
    assert replica.sweep(WALL_MS + 3 * IDLE_MS, 10) == 1


def test_a_record_that_does_not_decode_is_replaced_by_the_next_copy(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1)], WALL_MS)
    catch_up(b, a)
    place = tables.session_key(key_of(1))
    with b._engine.write() as transaction:
        stored = transaction.get(tables.SESSIONS, place)
        assert stored is not None
        transaction.put(tables.SESSIONS, place, stored[:-1])
    assert b.get(key_of(1)) is None
    assert b.snapshot("", 100).sessions == []
    assert b.merge(sessions_of(a).items(), WALL_MS) == 1
    assert sessions_of(b) == sessions_of(a)
    check(b)


def test_two_huge_copies_that_join_to_more_than_the_limit_do_not_stop_the_batch(
    replica: Replica,
) -> None:
    def huge(node: bytes, prefix: str) -> SessionState:
        register = Register(1, node, 1, b"")
        registers = {f"{prefix}{n}": register for n in range(40_000)}
        return SessionState(WALL_MS, WALL_MS, WALL_MS + LIFE_MS, registers, {node: 1})

    mine, theirs = huge(NODE_B, "b"), huge(NODE_C, "c")
    assert replica.merge([(key_of(1), mine)], WALL_MS) == 1
    small = replace(theirs, registers={})
    batch = Batch(
        NODE_C, 0, 0, 1, 1, [Delta(key_of(1), theirs, True), Delta(key_of(2), small, True)]
    )
    assert replica.apply(batch, WALL_MS).changed == 1
    assert replica.get(key_of(1)) == mine
    check(replica)


def test_a_tombstone_not_held_is_adopted_until_it_is_of_no_use(replica: Replica) -> None:
    tombstone = SessionState(
        WALL_MS, WALL_MS, WALL_MS, {}, {NODE_B: 1}, Ended(1, NODE_B, "invalidated")
    )
    assert replica.merge([(key_of(1), tombstone)], WALL_MS + SKEW_MS + 1) == 0
    assert replica.merge([(key_of(1), tombstone)], WALL_MS + SKEW_MS) == 1
    created = replica.commit(
        [creation(1), write(1, x=b"")], WALL_MS + SKEW_MS
    )
    assert not created.effective
    check(replica)


def limited(number: int, per_second_max: int = 2) -> Change:
    """A session that begins if not too many others do."""
    change = creation(number)
    assert change.creation is not None
    return replace(change, creation=replace(change.creation, per_second_max=per_second_max))


def test_a_session_that_is_one_too_many_does_not_begin_and_ends_beside_it_count(
    replica: Replica,
) -> None:
    for number in range(2 * BURST_S):
        assert replica.commit([limited(number)], WALL_MS).states != [None]
    head = replica.head()
    ended, refused = replica.commit([end(0), limited(99)], WALL_MS).states
    assert ended is not None
    assert refused is None
    assert replica.get(key_of(99)) is None
    assert replica.head() == head + 1
    # What is not limited takes nothing of the allowance, and needs none.
    assert replica.commit([creation(100)], WALL_MS).states != [None]
    assert replica.commit([limited(101)], WALL_MS + 500).states != [None]
    assert replica.commit([limited(102)], WALL_MS + 500).states == [None]
    check(replica)


def test_the_allowance_is_of_the_node_and_not_of_one_process(replica: Replica) -> None:
    first = replica
    second = Replica(replica._engine, lambda: NODE_A, clock_skew_ms_max=SKEW_MS)
    for number in range(2 * BURST_S):
        worker = (first, second)[number % 2]
        assert worker.commit([limited(number)], WALL_MS).states != [None]
    assert first.commit([limited(98)], WALL_MS).states == [None]
    assert second.commit([limited(99)], WALL_MS).states == [None]


def test_the_copy_of_a_request_stands_in_for_what_has_left_and_for_nothing_else(
    replica: Replica
) -> None:
    held = replica.commit([creation(1, {"a": b"1"})], WALL_MS).states[0]
    assert held is not None
    assert replica.evict([(key_of(1), held)]) == 1
    later = replace(write(1, b=b"2"), held=held)
    committed = replica.commit([later], WALL_MS)
    state = committed.states[0]
    assert state is not None
    assert {name: state.registers[name].value for name in "ab"} == {"a": b"1", "b": b"2"}
    assert committed.stored == [(key_of(1), held, state)], "it does not begin anew"
    assert replica.stats().sessions == replica.stats().feed_entries == 1
    check(replica)
    replica.commit([end(1)], WALL_MS)
    assert not replica.commit([later], WALL_MS).effective
    replica.commit([creation(2)], WALL_MS)
    ended = replica.get(key_of(1))
    assert not replica.commit([replace(write(3, b=b"2"), held=ended)], WALL_MS).effective
    too_late_ms = expires_ms(held) + 1
    late = replace(write(4, wall_ms=too_late_ms, b=b"2"), held=held)
    assert not replica.commit([late], too_late_ms).effective
    check(replica)
