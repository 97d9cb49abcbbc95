"""Keeps the tables in an LMDB environment, shared by all processes of a host.

The environment is opened without syncing, because the contents can be had again from peers, and
with ``writemap`` only where a full disk is an error all the same, see ``blocks_ahead``. One process
may have it open once; a child of a fork must not use its parent's, see ``LmdbEngine.abandon``.
"""

import errno
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb

from clustersession.core.errors import ReplicaError, ReplicaFull, ReplicaUnusable
from clustersession.replica.engines.contract import StartAnew
from clustersession.replica.engines.lmdb import directory as directories
from clustersession.replica.engines.lmdb.blocks_ahead import (
    AHEAD_BYTES,
    CHANGE_BYTES,
    PAGES_LISTED,
    SPLIT_BYTES,
    UNBOUNDED,
    BlocksAhead,
    blocks_ahead,
)
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
UNMAP_WAIT_S = 1.0
"""How long other threads have to end their transactions before the environment is opened anew."""


class LmdbEngine:
    """Keeps tables in an existing, private directory. Raises lmdb.Error when it cannot be opened.

    ``mapped``: write through the map where that is safe. For small transactions: the blocks of all
    that one may touch are allocated beforehand.

    pid: the process that opened it, the only one that may use it.
    reserve: judges writes by the free space of the file.
    _in_use: one entry for each transaction of this process that runs at this moment; adding to a
        set is atomic, counting up is not.
    _users: says that this process uses the replica; None until it does.
    _closed: nothing may be called any more but ``close``.
    _ahead: has blocks for what is written through the map; None: nothing is.
    _opening, _reopens: held, and set, while the environment is opened anew without ``writemap``;
        transactions wait meanwhile.
    """

    def __init__(self, directory: Path, map_bytes: int, *, mapped: bool = False) -> None:
        self.directory = directory
        self.pid = os.getpid()
        self._map_bytes = map_bytes
        self._in_use: set[object] = set()
        self._closed = self._reopens = False
        self._opening = threading.Lock()
        self._users: HeldDirectory | None = None
        file = directory / directories.DATA_FILE
        self._ahead: BlocksAhead | None = blocks_ahead(file, map_bytes) if mapped else None
        try:
            self._open()
        except lmdb.Error:
            # Not every file system has files as long as the map.
            if self._ahead is None:
                raise
            self._ahead.close()
            self._ahead = None
            self._open()
        try:
            self._environment.reader_check()
            self._users = HeldDirectory(directory)
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._environment = lmdb.open(
            os.fspath(self.directory), subdir=True, map_size=self._map_bytes,
            max_dbs=len(TABLE_NAMES), max_readers=READERS_MAX, mode=0o600, sync=False,
            metasync=False, writemap=self._ahead is not None, max_spare_txns=0,
        )
        try:
            self._databases = [self._environment.open_db(name) for name in TABLE_NAMES]
            file = self.directory / directories.DATA_FILE
            self.reserve = DiskReserve(file, self._environment)
            if self._ahead is not None:
                self._ahead.watch()
        except BaseException:
            self._environment.close()
            raise

    @property
    def is_mapped(self) -> bool:
        """Tell whether this process writes through the map."""
        return self._ahead is not None

    def note_use(self, token: object) -> None:
        """Keep the environment open for a transaction, until ``_in_use`` has it no more."""
        self._in_use.add(token)
        while self._reopens:
            self._in_use.discard(token)
            with self._opening:
                self._in_use.add(token)

    def stop_mapping(self) -> bool:
        """Open the environment anew without ``writemap``, for a disk that has no blocks to spare.

        False: another thread is in a transaction, and stays there.
        """
        with self._opening:
            if self._ahead is None:
                return True
            self._reopens = True
            try:
                deadline_s = time.monotonic() + UNMAP_WAIT_S
                while self._in_use:
                    if time.monotonic() > deadline_s:
                        return False
                    time.sleep(0.001)
                self._ahead.close()
                self._ahead = None
                self._environment.close()
                self._open()
                return True
            except lmdb.Error as error:
                raise self.trouble(error) from error
            finally:
                self._reopens = False

    def get(self, table: int, key: bytes) -> bytes | None:
        # One lookup too many costs less than the object that ``read`` makes.
        return self.get_two(table, key, table, key)[0]

    def get_two(
        self, table: int, key: bytes, other_table: int, other_key: bytes
    ) -> tuple[bytes | None, bytes | None]:
        # Every request comes here, so it goes without the object that ``read`` makes.
        token = object()
        self._in_use.add(token)
        if self._reopens:
            self.note_use(token)
        databases = self._databases
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
        return LmdbTransaction(self, self._in_use, write=False)

    def write(self, *, leaving: float = 0.0) -> "LmdbTransaction":
        return LmdbTransaction(self, self._in_use, write=True, leaving=leaving)

    def bytes_used(self) -> int:
        with self.read() as transaction:
            return transaction.bytes_used()

    def bytes_max(self) -> int:
        try:
            with self._opening:
                return self._environment.info()["map_size"]
        except lmdb.Error as error:
            raise self.trouble(error) from error

    def reader_check(self) -> int:
        """Free the reader slots of processes that were killed; returns how many."""
        try:
            with self._opening:
                return self._environment.reader_check()
        except lmdb.Error as error:
            raise self.trouble(error) from error

    def sync(self) -> None:
        """Bring everything to the disk, whatever wrote it: the map, or other processes beside it.
        """
        try:
            with self._opening:
                self._environment.sync(True)
            directories.bring_to_disk(self.directory)
        except lmdb.Error as error:
            raise self.trouble(error) from error

    def is_last_user(self) -> bool:
        """Tell whether no other process has the environment open."""
        return self._users is not None and self._users.is_alone()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._ahead is not None:
            self._ahead.close()
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
    _databases: the tables, from when the block begins.
    _leaving: the share of the reserve that must be free when the block begins.
    _left: how many bytes it may still take through the map before it has to ask for more blocks.
    _end: how far the file was used when the block began.
    _granted: how many bytes it has got since.
    """

    __slots__ = (
        "_databases", "_end", "_engine", "_granted", "_in_use", "_leaving", "_left",
        "_transaction", "_write",
    )

    def __init__(
        self, engine: LmdbEngine, in_use: set[object], *, write: bool, leaving: float = 0.0
    ) -> None:
        self._engine = engine
        self._in_use = in_use
        self._write = write
        self._leaving = leaving
        self._left = UNBOUNDED
        self._transaction: Any = None

    def __enter__(self) -> "LmdbTransaction":
        engine = self._engine
        self._in_use.add(self)
        if engine._reopens:
            engine.note_use(self)
        environment, self._databases = engine._environment, engine._databases
        try:
            try:
                self._transaction = environment.begin(write=self._write)
            except lmdb.ReadersFullError:
                environment.reader_check()
                self._transaction = environment.begin(write=self._write)
            if self._write and engine._ahead is not None:
                self._begin_mapped(engine._ahead)
            if self._leaving and not engine.reserve.admits(self, self._leaving):
                raise ReplicaFull(
                    f"no space left for the replica in {engine.directory}: the last "
                    f"{engine.reserve.bytes} bytes are kept for ends of sessions"
                )
        except BaseException as error:
            self._give_up()
            if isinstance(error, lmdb.Error):
                raise engine.trouble(error) from error
            raise
        return self

    def _begin_mapped(self, ahead: BlocksAhead) -> None:
        """See to it that there are blocks, or else that nothing is written through the map."""
        self._end = ahead.end()
        self._left = self._granted = ahead.room_after(self._end)
        if ahead.scarce:
            engine = self._engine
            self._give_up()
            if not engine.stop_mapping():
                raise ReplicaFull(f"no space left for the replica in {engine.directory}")
            self._in_use.add(self)
            self._left = UNBOUNDED
            self._databases = engine._databases
            self._transaction = engine._environment.begin(write=True)

    def _find_blocks(self) -> None:
        """Have more, because what there are may not do."""
        ahead = self._engine._ahead
        assert ahead is not None
        taken = self._granted - self._left
        # Each page is copied once, however many changes it takes.
        needed = min(taken, self.bytes_used() + taken * SPLIT_BYTES // CHANGE_BYTES)
        self._granted = ahead.room_after(self._end, needed + AHEAD_BYTES) + taken - needed
        self._left = self._granted - taken
        if self._left < 0:
            # The next one does not write through the map any more.
            raise StartAnew(f"no space left for the replica in {self._engine.directory}")

    def _give_up(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.abort()
        self._in_use.discard(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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

    def get(self, table: int, key: bytes) -> bytes | None:
        value: bytes | None = self._transaction.get(key, None, self._databases[table])
        return value

    def get_all(self, places: Sequence[tuple[int, bytes]]) -> list[bytes | None]:
        get, databases = self._transaction.get, self._databases
        values: list[bytes | None] = []
        for table, key in places:
            values.append(get(key, None, databases[table]))
        return values

    def scan(self, table: int, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._transaction.cursor(self._databases[table]) as cursor:
            if cursor.set_range(start):
                yield from cursor

    def count(self, table: int) -> int:
        entries: int = self._transaction.stat(self._databases[table])["entries"]
        return entries

    def put(self, table: int, key: bytes, value: bytes) -> None:
        self._left -= CHANGE_BYTES + len(value)
        if self._left < 0:
            self._find_blocks()
        # Positional (dupdata, overwrite, append, db): keywords cost as much as the call.
        self._transaction.put(key, value, True, True, False, self._databases[table])

    def put_all(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        put, databases = self._transaction.put, self._databases
        for table, key, value in rows:
            self._left -= CHANGE_BYTES + len(value)
            if self._left < 0:
                self._find_blocks()
            put(key, value, True, True, False, databases[table])

    def delete(self, table: int, key: bytes) -> None:
        self._left -= CHANGE_BYTES
        if self._left < 0:
            self._find_blocks()
        self._transaction.delete(key, b"", self._databases[table])

    def pop(self, table: int, key: bytes) -> bytes | None:
        self._left -= CHANGE_BYTES
        if self._left < 0:
            self._find_blocks()
        value: bytes | None = self._transaction.pop(key, self._databases[table])
        return value

    def clear(self, table: int) -> None:
        # The list of the pages that it frees.
        self._left -= CHANGE_BYTES + self.bytes_used() // PAGES_LISTED
        if self._left < 0:
            self._find_blocks()
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
