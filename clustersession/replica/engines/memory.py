"""Keeps the tables in memory: for tests, the simulator and a single process without a disk.

It has no lock: one thread at a time.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from clustersession.core.errors import ReplicaUnusable
from clustersession.replica.tables import TABLE_NAMES


class _Table:
    """Maps keys to values, with the keys in order beside them."""

    __slots__ = ("order", "values")

    def __init__(self) -> None:
        self.order: list[bytes] = []
        self.values: dict[bytes, bytes] = {}

    def set(self, key: bytes, value: bytes | None) -> bytes | None:
        """Set or, with None, remove; return what was there."""
        before = self.values.get(key)
        if value is not None:
            if before is None:
                insort(self.order, key)
            self.values[key] = value
        elif before is not None:
            del self.values[key]
            del self.order[bisect_left(self.order, key)]
        return before


class MemoryTransaction:
    """Reads and writes the tables at once, and remembers how to undo each write."""

    def __init__(self, tables: list[_Table]) -> None:
        self._tables = tables
        self._undo: list[tuple[int, bytes, bytes | None]] = []

    def get(self, table: int, key: bytes) -> bytes | None:
        return self._tables[table].values.get(key)

    def get_all(self, places: Sequence[tuple[int, bytes]]) -> list[bytes | None]:
        return [self._tables[table].values.get(key) for table, key in places]

    def scan(self, table: int, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        order, values = self._tables[table].order, self._tables[table].values
        for place in range(bisect_left(order, start), len(order)):
            key = order[place]
            yield key, values[key]

    def count(self, table: int) -> int:
        return len(self._tables[table].order)

    def put(self, table: int, key: bytes, value: bytes) -> None:
        self._undo.append((table, key, self._tables[table].set(key, value)))

    def put_all(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        for table, key, value in rows:
            self.put(table, key, value)

    def pop(self, table: int, key: bytes) -> bytes | None:
        value = self.get(table, key)
        self.delete(table, key)
        return value

    def delete(self, table: int, key: bytes) -> None:
        self._undo.append((table, key, self._tables[table].set(key, None)))

    def clear(self, table: int) -> None:
        for key in list(self._tables[table].order):
            self.delete(table, key)

    def undo(self) -> None:
        """Take back every write, the last one first."""
        while self._undo:
            table, key, before = self._undo.pop()
            self._tables[table].set(key, before)


class MemoryEngine:
    """Keeps tables without files. It has no bound, and so no reserve."""

    def __init__(self) -> None:
        self._tables = [_Table() for _ in TABLE_NAMES]
        self._closed = False

    def get(self, table: int, key: bytes) -> bytes | None:
        if self._closed:
            raise ReplicaUnusable("the replica is closed")
        return self._tables[table].values.get(key)

    def get_two(
        self, table: int, key: bytes, other_table: int, other_key: bytes
    ) -> tuple[bytes | None, bytes | None]:
        return self.get(table, key), self.get(other_table, other_key)

    @contextmanager
    def read(self) -> Iterator[MemoryTransaction]:
        if self._closed:
            raise ReplicaUnusable("the replica is closed")
        yield MemoryTransaction(self._tables)

    @contextmanager
    def write(self, *, leaving: float = 0.0) -> Iterator[MemoryTransaction]:
        if self._closed:
            raise ReplicaUnusable("the replica is closed")
        transaction = MemoryTransaction(self._tables)
        try:
            yield transaction
        except BaseException:
            transaction.undo()
            raise

    def bytes_used(self) -> int:
        return sum(
            len(key) + len(value)
            for table in self._tables
            for key, value in table.values.items()
        )

    def bytes_max(self) -> int:
        return 0

    def close(self) -> None:
        self._closed = True
