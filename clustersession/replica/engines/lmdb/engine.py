"""Keeps the tables in an LMDB environment, shared by all processes of a host.

The environment is opened without writemap, so that a full disk is an error and not a SIGBUS, and
without syncing, because the contents can be had again from peers. One process may have it open
once; a child of a fork must not use its parent's, see ``LmdbEngine.abandon``.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb

from clustersession.core.errors import ReplicaError, ReplicaFull, ReplicaUnusable
from clustersession.replica.engines.contract import Undo
from clustersession.replica.engines.lmdb import directory as directories
from clustersession.replica.engines.lmdb.disk_reserve import DiskReserve
from clustersession.replica.private_directory import HeldDirectory
from clustersession.replica.tables import TABLE_NAMES

READERS_MAX = 1024
# LMDB calls a write that was cut short, by a disk that filled up meanwhile, an input/output error.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
DAMAGE = (
    lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.PageNotFoundError,
    lmdb.IncompatibleError, lmdb.BadTxnError,
)


class LmdbEngine:
    """Keeps tables in an existing, private directory. Raises lmdb.Error when it cannot be opened.

    pid: the process that opened it, the only one that may use it.
    reserve: judges writes by the free space of the file.
    _in_use: one entry for each transaction of this process that runs at this moment; adding to a
        set is atomic, counting up is not.
    _users: says that this process uses the replica; None until it does.
    _closed: nothing may be called any more but ``close``.
    """

    def __init__(self, directory: Path, map_bytes: int) -> None:
        self.directory = directory
        self.pid = os.getpid()
        self._environment = lmdb.open(
            os.fspath(directory), subdir=True, map_size=map_bytes, max_dbs=len(TABLE_NAMES),
            max_readers=READERS_MAX, mode=0o600, sync=False, metasync=False, writemap=False,
            max_spare_txns=0,
        )
        self._in_use: set[object] = set()
        self._closed = False
        self._users: HeldDirectory | None = None
        try:
            self._environment.reader_check()
            self._databases = [self._environment.open_db(name) for name in TABLE_NAMES]
            self.reserve = DiskReserve(directory / directories.DATA_FILE, self._environment)
            self._users = HeldDirectory(directory)
        except BaseException:
            self.close()
            raise

    def get(self, table: int, key: bytes) -> bytes | None:
        with self.read() as transaction:
            return transaction.get(table, key)

    def get_two(
        self, table: int, key: bytes, other_table: int, other_key: bytes
    ) -> tuple[bytes | None, bytes | None]:
        # Every request comes here, so it goes without the object that ``read`` makes.
        token, databases = object(), self._databases
        self._in_use.add(token)
        try:
            with self._environment.begin() as transaction:
                return (
                    transaction.get(key, None, databases[table]),
                    transaction.get(other_key, None, databases[other_table]),
                )
        except lmdb.ReadersFullError:
            self._environment.reader_check()
            with self.read() as again:
                return again.get(table, key), again.get(other_table, other_key)
        except lmdb.Error as error:
            raise self.trouble(error) from error
        finally:
            self._in_use.discard(token)

    def read(self) -> "LmdbTransaction":
        return LmdbTransaction(self, self._environment, self._databases, self._in_use, write=False)

    def write(self, *, leaving: float = 0.0) -> "LmdbTransaction":
        return LmdbTransaction(
            self, self._environment, self._databases, self._in_use, write=True, leaving=leaving
        )

    def bytes_used(self) -> int:
        with self.read() as transaction:
            return transaction.bytes_used()

    def bytes_max(self) -> int:
        try:
            return self._environment.info()["map_size"]
        except lmdb.Error as error:
            raise self.trouble(error) from error

    def reader_check(self) -> int:
        """Free the reader slots of processes that were killed; returns how many."""
        try:
            return self._environment.reader_check()
        except lmdb.Error as error:
            raise self.trouble(error) from error

    def sync(self) -> None:
        """Bring everything to the disk."""
        try:
            self._environment.sync(True)
        except lmdb.Error as error:
            raise self.trouble(error) from error

    def is_last_user(self) -> bool:
        """Tell whether no other process has the environment open."""
        return self._users is not None and self._users.is_alone()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._environment.close()
        if self._users is not None:
            self._users.close()

    def abandon(self) -> None:
        """Let go of the parent's environment in the child of a fork, to open it anew.

        Closing it gives up nothing of the parent's: record locks and reader slots go by process id.
        It has to happen before the child opens its own, for closing any descriptor of a file drops
        the locks the process holds on it. When another thread of the parent was inside LMDB at the
        fork, closing would wait for a thread that does not exist here: raises ReplicaUnusable.
        """
        if self._in_use:
            raise ReplicaUnusable(
                "this process was forked while another thread was using the replica, which cannot "
                "be opened again here; fork before serving requests, or start processes by spawn"
            )
        self.close()

    def trouble(self, error: lmdb.Error) -> ReplicaError:
        """Return what to raise for an error of LMDB, and note damage."""
        if out_of_space(error):
            return ReplicaFull(f"no space left for the replica in {self.directory}: {error}")
        if isinstance(error, lmdb.MapResizedError):
            return ReplicaUnusable(
                f"another process opened {self.directory} with a larger map_bytes; open it again"
            )
        if isinstance(error, DAMAGE):
            directories.note_damaged(self.directory)
        return ReplicaUnusable(f"the replica in {self.directory} failed: {error}")


def peek(directory: Path, table: int, key: bytes) -> bytes | None:
    """Read one value of a whole replica that nobody has open; changes nothing. Raises lmdb.Error.
    """
    with lmdb.open(
        os.fspath(directory), readonly=True, lock=False, max_dbs=len(TABLE_NAMES)
    ) as environment:
        database = environment.open_db(TABLE_NAMES[table], create=False)
        with environment.begin() as transaction:
            return transaction.get(key, None, database)


def out_of_space(error: Exception) -> bool:
    """Tell whether the map or the device is full."""
    if isinstance(error, lmdb.Error):
        return isinstance(error, lmdb.MapFullError) or error.code in _NO_SPACE
    return isinstance(error, OSError) and error.errno in _NO_SPACE


class LmdbTransaction:
    """Runs one transaction in the block of a ``with`` statement.

    _transaction: LMDB's own; None before and after the block.
    _leaving: the share of the reserve that must be free when the block begins.
    """

    __slots__ = (
        "_databases", "_engine", "_environment", "_in_use", "_leaving", "_transaction", "_write",
    )

    def __init__(
        self,
        engine: LmdbEngine,
        environment: lmdb.Environment,
        databases: list[Any],
        in_use: set[object],
        *,
        write: bool,
        leaving: float = 0.0,
    ) -> None:
        self._engine = engine
        self._environment = environment
        self._databases = databases
        self._in_use = in_use
        self._write = write
        self._leaving = leaving
        self._transaction: Any = None

    def __enter__(self) -> "LmdbTransaction":
        self._in_use.add(self)
        try:
            try:
                self._transaction = self._environment.begin(write=self._write)
            except lmdb.ReadersFullError:
                self._environment.reader_check()
                self._transaction = self._environment.begin(write=self._write)
            if self._leaving and not self._engine.reserve.admits(self, self._leaving):
                raise ReplicaFull(
                    f"no space left for the replica in {self._engine.directory}: the last "
                    f"{self._engine.reserve.bytes} bytes are kept for ends of sessions"
                )
        except BaseException as error:
            transaction, self._transaction = self._transaction, None
            if transaction is not None:
                transaction.abort()
            self._in_use.discard(self)
            if isinstance(error, lmdb.Error):
                raise self._engine.trouble(error) from error
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        # Dropping the reference matters: only with the object does a reader's slot become free.
        transaction, self._transaction = self._transaction, None
        try:
            if kind is None and self._write:
                transaction.commit()
            else:
                transaction.abort()
        except lmdb.Error as failed:
            raise self._engine.trouble(failed) from failed
        finally:
            del transaction
            self._in_use.discard(self)
        if isinstance(error, lmdb.Error):
            raise self._engine.trouble(error) from error
        return isinstance(error, Undo)

    def get(self, table: int, key: bytes) -> bytes | None:
        value: bytes | None = self._transaction.get(key, None, self._databases[table])
        return value

    def scan(self, table: int, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._transaction.cursor(self._databases[table]) as cursor:
            if cursor.set_range(start):
                yield from cursor

    def count(self, table: int) -> int:
        entries: int = self._transaction.stat(self._databases[table])["entries"]
        return entries

    def put(self, table: int, key: bytes, value: bytes) -> None:
        # Positional (dupdata, overwrite, append, db): keywords cost as much as the call.
        self._transaction.put(key, value, True, True, False, self._databases[table])

    def delete(self, table: int, key: bytes) -> None:
        self._transaction.delete(key, b"", self._databases[table])

    def pop(self, table: int, key: bytes) -> bytes | None:
        value: bytes | None = self._transaction.pop(key, self._databases[table])
        return value

    def clear(self, table: int) -> None:
        self._transaction.drop(self._databases[table], delete=False)

    def bytes_used(self) -> int:
        """Return the bytes of all tables' pages."""
        used = 0
        for database in self._databases:
            pages = self._transaction.stat(database)
            used += pages["psize"] * (
                pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"]
            )
        return used
