"""What each storage engine promises, asked of every one of them."""


import pytest

from clustersession.core.errors import ReplicaError
from clustersession.replica.engines.contract import StorageEngine
from clustersession.replica.tables import FEED, SESSIONS, TABLE_NAMES

ROWS = [(b"b", b"2"), (b"a", b"1"), (b"\x00", b"0"), (b"ab", b"12")]


def fill(engine: StorageEngine) -> None:
    with engine.write() as transaction:
        for key, value in ROWS:
            transaction.put(SESSIONS, key, value)


def rows(engine: StorageEngine, start: bytes = b"") -> list[tuple[bytes, bytes]]:
    with engine.read() as transaction:
        return list(transaction.scan(SESSIONS, start))


def test_a_scan_is_in_order_of_bytes_and_its_start_is_included(engine: StorageEngine) -> None:
    fill(engine)
    assert rows(engine) == sorted(ROWS)
    assert rows(engine, b"ab") == [(b"ab", b"12"), (b"b", b"2")]
    assert rows(engine, b"c") == []


def test_tables_have_nothing_in_common(engine: StorageEngine) -> None:
    fill(engine)
    with engine.read() as transaction:
        counts = [transaction.count(table) for table in range(len(TABLE_NAMES))]
    assert counts == [len(ROWS), *[0] * (len(TABLE_NAMES) - 1)]


def test_a_writer_sees_what_it_wrote(engine: StorageEngine) -> None:
    fill(engine)
    with engine.write() as transaction:
        transaction.put(SESSIONS, b"a", b"new")
        assert transaction.get(SESSIONS, b"a") == b"new"
        assert transaction.pop(SESSIONS, b"a") == b"new"
        assert transaction.pop(SESSIONS, b"a") is None
        transaction.delete(SESSIONS, b"a")
        assert transaction.count(SESSIONS) == len(ROWS) - 1
    assert engine.get(SESSIONS, b"a") is None
    assert engine.get(SESSIONS, b"b") == b"2"


def test_many_are_read_and_written_at_once(engine: StorageEngine) -> None:
    fill(engine)
    with engine.write() as transaction:
        transaction.put_all([(FEED, b"a", b"1"), (SESSIONS, b"a", b"3"), (SESSIONS, b"a", b"4")])
        found = transaction.get_all([(SESSIONS, b"a"), (FEED, b"b"), (FEED, b"a")])
    assert found == [b"4", None, b"1"]
    assert rows(engine, b"ab") == [(b"ab", b"12"), (b"b", b"2")]


def test_a_block_that_raises_changes_nothing(engine: StorageEngine) -> None:
    fill(engine)

    def write() -> None:
        with engine.write() as transaction:
            transaction.put_all([(SESSIONS, b"a", b"new"), (FEED, b"y", b"25")])
            transaction.put(SESSIONS, b"z", b"26")
            transaction.delete(SESSIONS, b"b")
            transaction.put(SESSIONS, b"b", b"again")
            transaction.clear(SESSIONS)
            transaction.put(FEED, b"z", b"1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert rows(engine) == sorted(ROWS)
    assert engine.get(FEED, b"z") is None


def test_a_table_that_was_cleared_takes_rows_again(engine: StorageEngine) -> None:
    fill(engine)
    with engine.write() as transaction:
        transaction.clear(SESSIONS)
        transaction.put(SESSIONS, b"c", b"3")
    assert rows(engine) == [(b"c", b"3")]


def test_a_closed_engine_raises_and_closes_again(engine: StorageEngine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(ReplicaError):
        engine.get(SESSIONS, b"a")
    with pytest.raises(ReplicaError), engine.read():
        pass
    with pytest.raises(ReplicaError), engine.write():
        pass
