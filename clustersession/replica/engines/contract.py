"""Says what a storage engine offers: ordered tables of bytes, read and written in transactions.

A table is named by its number in ``replica.tables``. A reading transaction sees one state of all
tables throughout. A writing transaction excludes every other writer, takes effect as a whole when
its block ends, and not at all when the block raises.

An engine whose space is bounded keeps a **reserve**: so much free space as the end of a session
needs while it is stored, which frees more than it takes. A write says what share of the reserve it
must leave: all of it when it stores something new, none when it ends sessions. So a logout is
stored although the space is used up. An engine that nothing but memory bounds has no reserve and
ignores the share.

To add an engine, implement ``StorageEngine``, open it in ``replica.opening``, and add it to the
parameters of ``tests/replica/conftest.py``: every test of the replica then runs on it.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from clustersession.core.errors import ReplicaFull


class StartAnew(ReplicaFull):
    """There is no space for this transaction as it was begun; there may be when it is repeated."""


class ReadTransaction(Protocol):
    """Reads one consistent view of the tables."""

    def get(self, table: int, key: bytes) -> bytes | None:
        """Return the value under a key."""
        ...

    def get_all(self, places: Sequence[tuple[int, bytes]]) -> list[bytes | None]:
        """Return the values under some keys, each with its table."""
        ...

    def scan(self, table: int, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in order from ``start``, which is included.

        A writing transaction must not change the table while it scans it.
        """
        ...

    def count(self, table: int) -> int:
        """Return how many keys the table has."""
        ...


class WriteTransaction(ReadTransaction, Protocol):
    """Reads and writes, as the only writer. Raises ReplicaFull when there is no space left.

    StartAnew, at most once in the life of an engine, is raised for what should be repeated.
    """

    def put(self, table: int, key: bytes, value: bytes) -> None:
        """Set the value under a key."""
        ...

    def put_all(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Set some values, each with its table and its key, in this order."""
        ...

    def delete(self, table: int, key: bytes) -> None:
        """Remove a key; it need not exist."""
        ...

    def pop(self, table: int, key: bytes) -> bytes | None:
        """Remove a key; return what it had."""
        ...

    def clear(self, table: int) -> None:
        """Remove every key of a table."""
        ...


class StorageEngine(Protocol):
    """Stores one replica. Whatever fails in an engine is raised as ReplicaError."""

    def get(self, table: int, key: bytes) -> bytes | None:
        """Return one value, read in a transaction of its own."""
        ...

    def get_two(
        self, table: int, key: bytes, other_table: int, other_key: bytes
    ) -> tuple[bytes | None, bytes | None]:
        """Return two values of one state: all that most requests need."""
        ...

    def read(self) -> AbstractContextManager[ReadTransaction]:
        """Begin a reading transaction."""
        ...

    def write(self, *, leaving: float = 0.0) -> AbstractContextManager[WriteTransaction]:
        """Begin a writing transaction, after the one writer before it.

        ``leaving``: the share of the reserve, 0 to 1, that must be free, or ReplicaFull is raised
        before the block begins.
        """
        ...

    def bytes_used(self) -> int:
        """Estimate the bytes in use."""
        ...

    def bytes_max(self) -> int:
        """Return the bytes there are; 0 when nothing but memory bounds the engine."""
        ...

    def close(self) -> None:
        """Release what is held; safe to call twice."""
        ...
