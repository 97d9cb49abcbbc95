"""Keeps the journal of a node without an agent: one of the host's processes does, for all of them.

Who that is, a lock says, which goes with its process. Ends are brought to the disk by whoever wrote
them, before the answer.
"""

import asyncio
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from clustersession.core.errors import ReplicaError
from clustersession.net.async_library import in_thread, in_trio
from clustersession.replica.home import NodeHome
from clustersession.replica.journal.ends import ends_before, keep_ends
from clustersession.replica.journal.keeper import JournalKeeper, JournalListener
from clustersession.replica.journal.reading import JournalReading
from clustersession.replica.journal.segments import read_mark
from clustersession.replica.private_directory import private_opener
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire.journal import JournalCopies, JournalLife

TRY_INTERVAL_S = 1.0
_LOOK_S = 0.01
_FEED_BYTES_MAX = 2**18

logger = logging.getLogger("clustersession")

_T = TypeVar("_T")


class LocalJournal:
    """Is the journal as one process of the node sees it, which keeps it or leaves that to another.

    _keeper: None while this process does not keep it. _lock_file: the descriptor that says that it
    does. _waits: what is in the journal has not been merged back, as far as this process knows.
    _number: of the last sync that was asked for; _synced the last that was answered.
    """

    def __init__(
        self, home: NodeHome, settings: Settings, replica: Replica, wall_ms: Callable[[], int]
    ) -> None:
        self._home = home
        self._replica = replica
        self._wall_ms = wall_ms
        self._ends_only = settings.effective_durability == "end"
        self._timeout_s = settings.ack_timeout_s
        self._pid = os.getpid()
        self._keeper: JournalKeeper | None = None
        self._lock_file: int | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._synced = threading.Condition()
        self._number = self._answered = 0
        self._trouble_told = False
        self._waits = self._is_pending()
        if self._waits:
            self.moved()

    def moved(self) -> None:
        """Have what was committed be in the journal soon."""
        if self._thread is None and not self._stopped.is_set():
            thread = threading.Thread(
                target=self._run, name="clustersession-local-journal", daemon=True
            )
            self._thread = thread
            try:
                thread.start()
            except RuntimeError as error:
                # An interpreter that may have no more threads; said once.
                self._tell(f"clustersession: sessions do not survive a power cut: {error}")

    def waits(self) -> bool:
        """Tell whether sessions out of the journal may be missing in the replica yet."""
        if self._waits and self._keeper is None and not self._is_pending():
            # Never back to True: the thread may have done with it since that was looked at.
            self._waits = False
        return self._waits

    def _is_pending(self) -> bool:
        mark = read_mark(self._home.journal)
        return mark is not None and mark.node != self._replica.node

    def wait_recovered(self, key: str, timeout_s: float) -> bool:
        """Wait for a session out of the journal; tell whether it is there."""
        until_s = time.monotonic() + timeout_s
        while self.waits() and self._replica.get(key) is None and time.monotonic() < until_s:
            time.sleep(_LOOK_S)
        return self._replica.get(key) is not None

    async def wait_recovered_async(self, key: str, timeout_s: float) -> bool:
        """Do what ``wait_recovered`` does, without blocking the event loop."""
        return await _beside(lambda: self.wait_recovered(key, timeout_s))

    def keep_ends(self, head: int) -> None:
        """Bring to the disk what has ended at a place of our feed."""
        keeper = self._keeper
        try:
            if keeper is None:
                keep_ends(self._home.journal, self._replica, head)
                return
            ends = JournalCopies(0, ends_before(self._replica, head))
            with self._synced:
                self._number += 1
                number = self._number
            keeper.append([ends], number)
            with self._synced:
                self._synced.wait_for(
                    lambda: self._answered >= number or keeper.state.failed, self._timeout_s
                )
        except (OSError, ReplicaError) as error:
            self._tell(f"clustersession: an end is not on the disk: {error}")

    async def keep_ends_async(self, head: int) -> None:
        """Do what ``keep_ends`` does, without blocking the event loop."""
        await _beside(lambda: self.keep_ends(head))

    def close(self) -> None:
        """Bring to the disk what is not there yet, and let another process keep it."""
        if os.getpid() != self._pid:
            return
        self._stopped.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()
        if self._keeper is not None:
            self._keeper.close()
        descriptor, self._lock_file = self._lock_file, None
        if descriptor is not None:
            os.close(descriptor)

    # ---- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                if self._is_elected():
                    self._keep()
                    return
                self._stopped.wait(TRY_INTERVAL_S)
        except (OSError, ReplicaError) as error:
            self._tell(f"clustersession: sessions do not survive a power cut: {error}")
        except Exception:
            logger.exception("clustersession: the journal is not kept")

    def _is_elected(self) -> bool:
        if self._lock_file is None:
            path = self._home.journal_lock
            self._lock_file = private_opener(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _keep(self) -> None:
        listener = JournalListener(
            synced=self._on_synced, failed=self._on_failed, works=self._on_works,
            collect=lambda: self._collect(keeper),
        )
        keeper = JournalKeeper(
            self._home.journal, self._replica, listener, ends_only=self._ends_only
        )
        reading = keeper.open()
        former: tuple[bytes, ...] = ()
        if reading is not None:
            former = self._recover(keeper, reading)
            if self._stopped.is_set():
                # The next process begins with it again.
                return
        keeper.append([JournalLife(self._replica.node, former)])
        if reading is not None:
            keeper.recovered()
        self._keeper, self._waits = keeper, False
        keeper.start()

    def _collect(self, keeper: JournalKeeper) -> None:
        """Append what is new in our feed."""
        while True:
            batch = self._replica.feed(keeper.own_upto, keeper.own_upto, _FEED_BYTES_MAX)
            if batch.upto > keeper.own_upto:
                keeper.append([JournalCopies(batch.upto, batch.deltas)])
            if batch.complete:
                return

    def _recover(self, keeper: JournalKeeper, reading: JournalReading) -> tuple[bytes, ...]:
        """Merge back what is in the journal: ends first, for a session must not be seen alive."""
        began_s, merged, found = time.monotonic(), 0, reading.look()
        keeper.adopt(reading)
        logger.warning(
            "clustersession: recovering sessions from the journal, %d bytes", reading.size
        )
        if found.bytes_lost:
            logger.warning(
                "clustersession: %d bytes of the journal cannot be read (%s)%s", found.bytes_lost,
                ", ".join(found.lost_in), "" if found.whole else ", though they were on the disk",
            )
        for page in reading.ends():
            self._replica.restore(page, self._wall_ms())
        if found.members is not None and found.members.members:
            logger.error(
                "clustersession: what the journal holds is dropped, because this node had peers "
                "then: its users may have logged out there"
            )
        elif not found.whole:
            logger.error(
                "clustersession: the sessions in the journal are dropped, because a logout may "
                "have stood in what cannot be read of it"
            )
        else:
            for page in reading.sessions():
                if self._stopped.is_set():
                    break
                merged += self._replica.restore(page, self._wall_ms())
            took_s = time.monotonic() - began_s
            logger.warning("clustersession: recovered %d sessions in %.1f s", merged, took_s)
        return () if found.life is None else (found.life.node, *found.life.former)

    def _on_synced(self, number: int) -> None:
        with self._synced:
            self._answered = number
            self._synced.notify_all()

    def _on_failed(self, why: str, again: bool) -> None:
        with self._synced:
            self._synced.notify_all()
        if not again:
            logger.error(
                "clustersession: the journal is away, sessions do not survive a power cut until it "
                "works again: %s", why,
            )

    def _on_works(self) -> None:
        logger.warning("clustersession: the journal works again")

    def _tell(self, text: str) -> None:
        if not self._trouble_told:
            self._trouble_told = True
            logger.error("%s", text)


async def _beside(function: Callable[[], _T]) -> _T:
    return await (in_thread(function) if in_trio() else asyncio.to_thread(function))
