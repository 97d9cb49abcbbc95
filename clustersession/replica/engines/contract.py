"""What the replica's logic needs of a storage engine: ordered tables of bytes, and transactions.

A table is named by its number in ``replica.tables``. A reading transaction sees one state of all
tables throughout. A writing transaction excludes every other writer, takes effect as a whole when
its block ends, and not at all when the block raises; ``Undo`` it keeps to itself.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class Undo(Exception):
    """Raised in the block of a writing transaction: nothing of it takes effect."""


class ReadTransaction(Protocol):
    """One consistent view of the tables."""

    def get(self, table: int, key: bytes) -> bytes | None:
        """The value under a key."""
        ...

    def scan(self, table: int, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in order from ``start``, which is included.

        A writing transaction must not change the table while it scans it.
        """
        ...

    def count(self, table: int) -> int:
        """How many keys the table has."""
        ...


class WriteTransaction(ReadTransaction, Protocol):
    """The only writer. Raises ReplicaFull when there is no space left."""

    def put(self, table: int, key: bytes, value: bytes) -> None:
        """Set the value under a key."""
        ...

    def delete(self, table: int, key: bytes) -> None:
        """Remove a key; it need not exist."""
        ...

    def pop(self, table: int, key: bytes) -> bytes | None:
        """Remove a key; returns what it had."""
        ...

    def clear(self, table: int) -> None:
        """Remove every key of a table."""
        ...


class StorageEngine(Protocol):
    """Storage for one replica. Engine trouble is raised as ReplicaError."""

    def get(self, table: int, key: bytes) -> bytes | None:
        """One value, read in a transaction of its own; what most requests need and no more."""
        ...

    def read(self) -> AbstractContextManager[ReadTransaction]:
        """Begin a reading transaction."""
        ...

    def write(self, *, leaving: float = 0.0) -> AbstractContextManager[WriteTransaction]:
        """Begin a writing transaction; waits for the one writer before it.

        ``leaving``: the share of the reserve for ends that must be left, or ReplicaFull is raised.
        """
        ...

    def bytes_used(self) -> int:
        """Space in use, about."""
        ...

    def bytes_max(self) -> int:
        """Space there is; 0 when nothing but memory bounds it."""
        ...

    def close(self) -> None:
        """Release what is held; safe to call twice."""
        ...
