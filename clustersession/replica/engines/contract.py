"""Says what a storage engine offers: ordered tables of bytes, read and written in transactions.

A table is named by its number in ``replica.tables``. A reading transaction sees one state of all
tables throughout. A writing transaction excludes every other writer, takes effect as a whole when
its block ends, and not at all when the block raises; ``Undo`` it keeps to itself.

An engine whose space is bounded keeps a **reserve**: so much free space as the end of a session
needs while it is stored, which frees more than it takes. A write says what share of the reserve it
must leave: all of it when it stores something new, none when it ends sessions. So a logout is
stored although the space is used up. An engine that nothing but memory bounds has no reserve and
ignores the share.

To add an engine, implement ``StorageEngine``, open it in ``replica.opening``, and add it to the
parameters of ``tests/replica/conftest.py``: every test of the replica then runs on it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class Undo(Exception):
    """Leaves the block of a writing transaction, of which then nothing takes effect."""


class ReadTransaction(Protocol):
    """Reads one consistent view of the tables."""

    def get(self, table: int, key: bytes) -> bytes | None:
        """Return the value under a key."""
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
    """Reads and writes, as the only writer. Raises ReplicaFull when there is no space left."""

    def put(self, table: int, key: bytes, value: bytes) -> None:
        """Set the value under a key."""
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
