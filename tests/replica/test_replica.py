"""The rules of a replica, run on every engine."""

import pytest

from clustersession.core.clock import COUNTER_BITS
from clustersession.core.errors import ReplicaUnusable, SessionTooLarge
from clustersession.core.feed import START, Batch, Cursor
from clustersession.core.state import Register, SessionState, expires_ms
from clustersession.replica import tables
from clustersession.replica.replica import Replica
from tests.replica.replica_checks import (
    LIFE_MS,
    NODE_A,
    NODE_B,
    NODE_C,
    SKEW_MS,
    WALL_MS,
    Open,
    check,
    creation,
    end,
    key_of,
    sessions_of,
    write,
)


def test_an_empty_replica_has_nothing(replica: Replica) -> None:
    assert replica.node == NODE_A
    assert replica.get(key_of(1)) is None
    assert replica.head() == 0
    assert replica.cursors() == {}
    assert replica.keys("", 10) == []
    assert replica.digests() == bytes(8 * 1024)
    assert replica.feed(0, 0, 100) == Batch(NODE_A, 0, 0, 0, 0, [])
    page = replica.snapshot("", 100)
    assert (page.sessions, page.next_key, page.done) == ([], "", True)
    assert page.cursors == {NODE_A: Cursor(0, 0)}
    check(replica)


def test_each_effective_change_takes_one_number(replica: Replica) -> None:
    committed = replica.commit([creation(1, {"a": b"1"}), write(9, a=b"x"), creation(2)], WALL_MS)
    assert committed.head == 2
    assert committed.effective
    assert [state is not None for state in committed.states] == [True, False, True]
    assert replica.get(key_of(1)) == committed.states[0]
    assert replica.get(key_of(9)) is None
    assert replica.head() == 2
    check(replica)


def test_a_change_without_effect_leaves_nothing_behind(replica: Replica) -> None:
    committed = replica.commit([write(1, a=b"x")], WALL_MS)
    assert not committed.effective
    assert committed.head == 0
    assert replica.commit([], WALL_MS).head == 0
    check(replica)


def test_the_feed_has_one_entry_per_session_at_its_last_write(replica: Replica) -> None:
    replica.commit([creation(1, {"a": b"1"}), creation(2), write(1, b=b"2")], WALL_MS)
    batch = replica.feed(0, 0, 2**20)
    assert [delta.key for delta in batch.deltas] == [key_of(2), key_of(1)]
    assert (batch.upto, batch.complete) == (3, True)
    assert all(delta.full for delta in batch.deltas)
    after = replica.feed(2, 2, 2**20)
    assert [delta.key for delta in after.deltas] == [key_of(1)]
    assert set(after.deltas[0].state.registers) == {"b"}
    assert not after.deltas[0].full
    assert replica.feed(3, 3, 2**20) == Batch(NODE_A, 3, 3, 3, 3, [])


def test_a_small_batch_holds_one_session_and_is_not_complete(replica: Replica) -> None:
    replica.commit([creation(n) for n in range(3)], WALL_MS)
    first = replica.feed(0, 0, 1)
    assert [delta.key for delta in first.deltas] == [key_of(0)]
    assert (first.after, first.upto, first.complete) == (0, 1, False)
    last = replica.feed(0, 2, 1)
    assert (last.upto, last.complete) == (3, True)


def test_a_feed_position_beyond_the_head_is_not_moved_back(replica: Replica) -> None:
    batch = replica.feed(7, 9, 100)
    assert (batch.after, batch.upto, batch.complete, batch.deltas) == (9, 9, True, [])


def test_a_batch_applied_moves_the_cursor_with_the_data(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1, {"a": b"1"}), creation(2)], WALL_MS)
    applied = b.apply(a.feed(0, 0, 2**20), WALL_MS)
    assert (applied.cursor, applied.changed, applied.missing) == (Cursor(2, 2), 2, [])
    assert b.cursors() == {NODE_A: Cursor(2, 2)}
    assert sessions_of(b) == sessions_of(a)
    assert a.digests() == b.digests()
    assert b.head() == 0
    assert b.feed(0, 0, 2**20).deltas == []
    again = b.apply(a.feed(0, 0, 2**20), WALL_MS)
    assert (again.cursor, again.changed) == (Cursor(2, 2), 0)
    check(b)


def test_a_batch_after_a_gap_changes_nothing(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1), creation(2)], WALL_MS)
    for floor, after in ((0, 1), (1, 1), (1, 0)):
        applied = b.apply(a.feed(floor, after, 2**20), WALL_MS)
        assert (applied.cursor, applied.changed) == (START, 0)
    assert sessions_of(b) == {}


def test_an_incomplete_batch_moves_the_position_and_not_the_floor(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1), creation(2)], WALL_MS)
    assert b.apply(a.feed(0, 0, 1), WALL_MS).cursor == Cursor(0, 1, 2)
    assert b.cursors() == {NODE_A: Cursor(0, 1, 2)}
    assert b.apply(a.feed(0, 1, 1), WALL_MS).cursor == Cursor(2, 2)


def test_a_batch_read_before_the_one_it_continues_does_not_hide_a_session_that_moved(
    open_replica: Open,
) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1), creation(2)], WALL_MS)
    lost, late = a.feed(0, 0, 1), a.feed(0, 1, 1)
    a.commit([write(1)], WALL_MS)
    overtaking = a.feed(0, 0, 1)
    assert (lost.upto, late.complete, overtaking.upto) == (1, True, 2)
    for batch in (overtaking, late):
        assert b.apply(batch, WALL_MS).cursor == Cursor(0, 2, 3)
    assert b.apply(a.feed(0, 2, 1), WALL_MS).cursor == Cursor(3, 3)
    assert sessions_of(b) == sessions_of(a)


def test_own_batches_are_ignored(replica: Replica) -> None:
    replica.commit([creation(1)], WALL_MS)
    applied = replica.apply(replica.feed(0, 0, 100), WALL_MS)
    assert (applied.cursor, applied.changed) == (Cursor(1, 1), 0)
    assert replica.cursors() == {}


def test_a_cursor_waits_for_sessions_that_are_missing(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([creation(1), write(1, x=b"1")], WALL_MS)
    b.inherit({NODE_A: Cursor(2, 2)})
    a.commit([creation(2), write(1, x=b"2"), creation(3)], WALL_MS)
    seen: list[object] = []
    b.observe(seen.extend)
    applied = b.apply(a.feed(2, 2, 2**20), WALL_MS, whole=True)
    assert (applied.missing, applied.changed, applied.cursor) == ([key_of(1)], 2, Cursor(2, 2))
    assert b.cursors() == {NODE_A: Cursor(2, 2)}
    assert sessions_of(b).keys() == {key_of(2), key_of(3)}
    assert len(seen) == 2
    check(b)
    state = a.get(key_of(1))
    assert state is not None
    b.merge([(key_of(1), state)], WALL_MS)
    applied = b.apply(a.feed(2, 2, 2**20), WALL_MS, whole=True)
    assert (applied.missing, applied.changed) == ([], 0)
    assert len(seen) == 3
    assert b.digests() == a.digests()
    check(b)


def test_merge_passes_over_a_future_and_counts_what_changed(replica: Replica) -> None:
    def copy(time_ms: int) -> SessionState:
        stamp = Register(time_ms << COUNTER_BITS, NODE_B, 1, b"v")
        return SessionState(WALL_MS, WALL_MS, WALL_MS + LIFE_MS, {"a": stamp}, {NODE_B: 1})

    good, bad = copy(WALL_MS), copy(WALL_MS + SKEW_MS + 1)
    assert replica.merge([(key_of(1), good), (key_of(2), bad)], WALL_MS) == 1
    assert replica.merge([(key_of(1), good)], WALL_MS) == 0
    assert sessions_of(replica) == {key_of(1): good}
    check(replica)


def test_cursors_inherited_never_go_back(replica: Replica) -> None:
    replica.inherit({NODE_B: Cursor(5, 9), NODE_A: Cursor(3, 3)})
    assert replica.apply(Batch(NODE_B, 5, 5, 9, 12, []), WALL_MS).cursor == Cursor(5, 9, 12)
    replica.inherit({NODE_B: Cursor(7, 8), NODE_C: Cursor(1, 1)})
    assert replica.cursors() == {NODE_B: Cursor(7, 9, 12), NODE_C: Cursor(1, 1)}
    replica.inherit({NODE_B: Cursor(6, 20)})
    assert replica.cursors()[NODE_B] == Cursor(7, 9, 12)
    replica.inherit({NODE_B: Cursor(10, 20)})
    assert replica.cursors()[NODE_B] == Cursor(10, 10)


def test_a_snapshot_comes_in_pages_and_misses_nothing(replica: Replica) -> None:
    replica.commit([creation(n, {"v": b"x" * 50}) for n in range(20)], WALL_MS)
    replica.commit([end(3)], WALL_MS)
    seen: dict[str, SessionState] = {}
    after, pages = "", 0
    while True:
        page = replica.snapshot(after, 400)
        seen |= dict(page.sessions)
        assert page.cursors == {NODE_A: Cursor(21, 21)}
        after, pages = page.next_key, pages + 1
        if page.done:
            break
    assert pages > 5
    assert seen == {key_of(n): replica.get(key_of(n)) for n in range(20)}


def test_keys_come_once_each_across_pages(replica: Replica) -> None:
    replica.commit([creation(n) for n in range(10)], WALL_MS)
    first = replica.keys("", 4)
    rest = replica.keys(first[-1], 100)
    assert sorted(first + rest) == [key_of(n) for n in range(10)]


def test_a_listing_covers_the_buckets_asked_for(replica: Replica) -> None:
    replica.commit([creation(n) for n in range(50)], WALL_MS)
    wanted = {tables.bucket_of(key_of(n)) for n in range(5)}
    listed = {row.key: row for row in replica.listing([*wanted, -1, 1024], 1000)}
    assert set(listed) == {
        key_of(n) for n in range(50) if tables.bucket_of(key_of(n)) in wanted
    }
    row = listed[key_of(0)]
    state = replica.get(key_of(0))
    assert state is not None
    assert (row.versions, row.expires_ms) == (state.versions, expires_ms(state))
    assert len(replica.listing(range(1024), 7)) == 7


def test_a_listing_goes_on_after_a_session(replica: Replica) -> None:
    replica.commit([creation(n) for n in range(50)], WALL_MS)
    bucket = tables.bucket_of(key_of(0))
    keys = [row.key for row in replica.listing(range(1024), 1000)]
    rest = [row.key for row in replica.listing(range(1024), 1000, keys[20])]
    assert rest == keys[21:]
    assert replica.listing([bucket], 10, replica.listing([bucket], 10)[-1].key) == []


def test_a_batch_of_the_feed_has_so_many_sessions_at_most(replica: Replica) -> None:
    replica.commit([creation(n) for n in range(10)], WALL_MS)
    first = replica.feed(0, 0, 2**20, 4)
    assert (len(first.deltas), first.upto, first.complete) == (4, 4, False)
    last = replica.feed(0, 8, 2**20, 4)
    assert (len(last.deltas), last.upto, last.complete) == (2, 10, True)
    assert replica.feed(0, 6, 2**20, 4).complete


def test_the_sweeper_takes_the_expired_and_nothing_else(replica: Replica) -> None:
    replica.commit([creation(1), creation(2, idle_ms=60_000), creation(3)], WALL_MS)
    replica.commit([end(3)], WALL_MS)
    short = replica.get(key_of(2))
    assert short is not None
    assert replica.sweep(expires_ms(short), 10) == 0
    assert replica.sweep(expires_ms(short) + tables.EXPIRY_STEP_MS, 10) == 1
    assert replica.get(key_of(2)) is None
    check(replica)
    tombstone_ms = WALL_MS + LIFE_MS + SKEW_MS
    assert replica.sweep(tombstone_ms, 10) == 1
    assert replica.sweep(tombstone_ms + tables.EXPIRY_STEP_MS, 10) == 1
    assert replica.stats().feed_entries == 0
    assert replica.digests() == bytes(8 * 1024)
    assert replica.head() == 4
    check(replica)


def test_the_sweeper_obeys_its_limit(replica: Replica) -> None:
    replica.commit([creation(n) for n in range(5)], WALL_MS)
    late_ms = WALL_MS + LIFE_MS
    assert [replica.sweep(late_ms, 2) for _ in range(4)] == [2, 2, 1, 0]


def test_what_leaves_for_a_store_leaves_nothing_behind(replica: Replica) -> None:
    replica.commit([creation(1), creation(2), creation(3)], WALL_MS)
    kept, left = replica.get(key_of(1)), replica.get(key_of(2))
    assert kept is not None
    assert left is not None
    replica.commit([write(1, x=b"later")], WALL_MS)
    reported: list[object] = []
    replica.observe(reported.extend)
    assert replica.evict([(key_of(1), kept), (key_of(2), left), (key_of(9), left)]) == 1
    assert replica.get(key_of(2)) is None
    assert replica.get(key_of(1)) is not None
    assert reported == []
    assert replica.head() == 4
    assert replica.stats().feed_entries == replica.stats().sessions == 2
    assert replica.stats().tombstones == 0
    check(replica)
    assert replica.merge([(key_of(2), left)], WALL_MS) == 1


def test_notes_are_kept(replica: Replica) -> None:
    assert replica.load_note("view") is None
    replica.save_note("view", b"1")
    replica.save_note("view", b"2")
    assert replica.load_note("view") == b"2"


def test_a_failure_inside_a_commit_changes_nothing(replica: Replica) -> None:
    replica.commit([creation(1)], WALL_MS)
    before = sessions_of(replica)
    with pytest.raises(SessionTooLarge):
        replica.commit([write(1, x=b"1"), creation(2), creation(3, {"n" * 5000: b""})], WALL_MS)
    assert (sessions_of(replica), replica.head()) == (before, 1)
    check(replica)


def test_a_closed_replica_says_so(replica: Replica) -> None:
    replica.close()
    replica.close()
    with pytest.raises(ReplicaUnusable):
        replica.get(key_of(1))
    with pytest.raises(ReplicaUnusable):
        replica.commit([creation(1)], WALL_MS)
    with pytest.raises(ReplicaUnusable):
        replica.keys("", 1)
