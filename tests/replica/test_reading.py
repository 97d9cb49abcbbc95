"""The bookkeeping of a replica is read, or it is said that it is lost."""

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.core.feed import START, Cursor
from clustersession.core.state import Delta, Register, SessionState
from clustersession.replica import reading, tables
from clustersession.replica.decoded import DecodedRecords
from clustersession.replica.replica import Replica
from tests.replica.replica_checks import NODE_A, NODE_B, WALL_MS, creation, key_of, write


def test_a_replica_without_its_head_is_unusable_and_not_empty() -> None:
    for data in (None, b"", b"\x01short", b"\x02" + bytes(40)):
        with pytest.raises(ReplicaUnusable):
            reading.head_from(data)


def test_a_node_never_heard_of_is_at_the_start(replica: Replica) -> None:
    replica.inherit({NODE_B: Cursor(3, 3)})
    with replica._engine.read() as transaction:
        assert reading.cursor_of(transaction, NODE_B) == Cursor(3, 3)
        assert reading.cursor_of(transaction, NODE_A) == START
        assert reading.cursors_of(transaction) == {NODE_B: Cursor(3, 3)}
        assert reading.head_of(transaction).node == NODE_A


def test_a_delta_has_what_was_written_above_the_floor(replica: Replica) -> None:
    replica.commit([creation(1, {"a": b"1"}), write(1, b=b"2")], WALL_MS)
    with replica._engine.read() as transaction:
        whole = reading.delta_of(transaction, DecodedRecords(), key_of(1), NODE_A, 0)
        part = reading.delta_of(transaction, DecodedRecords(), key_of(1), NODE_A, 1)
        assert reading.delta_of(transaction, DecodedRecords(), key_of(2), NODE_A, 0) is None
    assert whole is not None
    assert part is not None
    assert (whole.full, set(part.state.registers)) == (True, {"b"})


def test_one_that_is_unreadable_has_no_delta(replica: Replica) -> None:
    replica.commit([creation(1)], WALL_MS)
    with replica._engine.write() as transaction:
        transaction.put(tables.SESSIONS, tables.session_key(key_of(1)), b"x" * 40)
    with replica._engine.read() as transaction:
        assert reading.delta_of(transaction, DecodedRecords(), key_of(1), NODE_A, 0) is None


def test_the_estimate_of_a_size_follows_the_values() -> None:
    def delta(value: bytes | None) -> Delta:
        state = SessionState(1, 1, 1, {"name": Register(1, NODE_A, 1, value)}, {NODE_A: 1})
        return Delta(key_of(1), state, True)

    empty = reading.size_about(delta(None))
    assert 0 < empty < 200
    assert reading.size_about(delta(b"x" * 10_000)) == empty + 10_000


def test_who_reads_what_the_feed_has_just_read_decodes_nothing(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica.commit([creation(1)], WALL_MS)
    # Another process has written it.
    replica._decoded = DecodedRecords()
    replica.feed(0, 0, 2**20)
    monkeypatch.delattr(tables, "state_of_record")
    assert replica.get(key_of(1)) is not None
