"""Connects a node with its journal's files: carries out its effects, and tells it what became."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from clustersession.agent.event_log import EventLog
from clustersession.node.engine import Engine
from clustersession.node.journal_port import JournalPage, JournalPast
from clustersession.node.moment import Moment
from clustersession.replica.engines.lmdb.directory import MEMORY_FILE_SYSTEMS, file_system_here
from clustersession.replica.home import NodeHome
from clustersession.replica.journal.keeper import JournalKeeper, JournalListener
from clustersession.replica.journal.reading import JournalReading, Recovered
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire.journal import JournalEntry

BEGUN_TIMEOUT_S = 30.0

Act = Callable[[Engine, Moment], None]


class AgentJournal:
    """Implements ``node.journal_port.JournalPort`` over files.

    act: does something with the engine of the present life, and carries out what that wants.

    _reading: what waits, until it is merged or dropped; _pages its parts that are still to come,
    _page the last one that was read.
    """

    def __init__(
        self, home: NodeHome, settings: Settings, replica: Replica, event_log: EventLog,
        act: Callable[[Act], None],
    ) -> None:
        self._act = act
        self._event_log = event_log
        self._replica = replica
        self._keeps = settings.effective_durability
        listener = JournalListener(
            synced=self._on_synced, failed=self._on_failed, slow=self._on_slow,
            begun=self._on_begun, works=self._on_works,
        )
        self._keeper = JournalKeeper(
            home.journal, replica, listener, ends_only=self._keeps == "end"
        )
        self._past = JournalPast()
        self._reading: JournalReading | None = None
        self._pages: Iterator[Sequence[Recovered]] = iter(())
        self._page: JournalPage | None = None
        self._loop: asyncio.AbstractEventLoop
        # Reads; one at a time, for the pages follow each other.
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def past(self) -> JournalPast:
        """Return what stood there when it was opened."""
        return self._past

    async def open(self) -> None:
        """Find what is there; before the node begins. Raises ReplicaError."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        kind = file_system_here(self._keeper.directory)
        if kind in MEMORY_FILE_SYSTEMS:
            self._event_log.journal_in_memory(kind)
        keeper, reading = self._keeper, self._keeper.open()
        self._reading = reading
        if reading is None:
            self._past = JournalPast(
                self._replica.node, keeper.former, keeper.members, keeper.own_upto
            )
            return
        found = reading.look()
        keeper.adopt(reading)
        self._past = JournalPast(
            b"" if found.life is None else found.life.node, keeper.former, keeper.members,
            found.own_upto, found.whole, waiting=True,
        )
        self._event_log.journal_found(reading.size, found.bytes_lost, found.lost_in, found.whole)

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """Have the kernel keep entries: they survive the process, and the machine once synced."""
        self._keeper.append(entries)

    # ---- what the node wants ---------------------------------------------------------------------

    def sync(self, number: int) -> None:
        """Bring to the disk what was appended; ``journal_synced`` follows."""
        self._keeper.append((), number)

    def load(self, ends: bool, after_key: str) -> None:
        """Read a part of what waits; ``recovered`` follows."""
        task = self._loop.create_task(self._load(ends, after_key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def let_go(self) -> None:
        """Let go of what waited: the replica has all of it that is to be."""
        self._pages, self._page, self._reading = iter(()), None, None
        self._keeper.recovered()

    async def close(self) -> None:
        """Bring everything to the disk, and end."""
        for task in list(self._tasks):
            task.cancel()
        try:
            await asyncio.to_thread(self._keeper.close)
        except RuntimeError:
            # The interpreter ends, with an agent inside a worker: there are no more threads to use,
            # and nobody whom this one could keep waiting.
            self._keeper.close()

    def status(self) -> dict[str, Any]:
        """Return what people see of it, in plain values."""
        state = self._keeper.state
        return {
            "durability": self._keeps,
            "bytes": state.bytes,
            "synced_s_ago": round(time.monotonic() - state.synced_s, 1) if state.synced_s else None,
            "longest_sync_ms": round(1000 * state.longest_sync_s, 1),
            "rewritings": state.rewritings,
            "failures": state.failures,
            "failed": state.failed,
        }

    async def _load(self, ends: bool, after_key: str) -> None:
        async with self._turn:
            page = await asyncio.to_thread(self._next_page, ends, after_key)
        self._act(lambda engine, at: engine.recovered(page, at))

    def _next_page(self, ends: bool, after_key: str) -> JournalPage:
        before, reading = self._page, self._reading
        if before is not None and (before.ends, before.after_key) == (ends, after_key):
            # There was no space to merge it.
            return before
        if not after_key and reading is not None:
            self._pages = reading.ends() if ends else reading.sessions()
        sessions = next(self._pages, None)
        place = int(after_key or 0) + 1
        self._page = JournalPage(ends, after_key, sessions or (), str(place), sessions is None)
        return self._page

    # ---- what the journal tells, in its thread ---------------------------------------------------

    def _on_synced(self, number: int) -> None:
        self._later(lambda: self._act(lambda engine, at: engine.journal_synced(number, at)))

    def _on_failed(self, why: str, again: bool) -> None:
        def tell() -> None:
            if not again:
                self._event_log.journal_failed(why)
            self._act(lambda engine, at: engine.journal_failed(at))

        self._later(tell)

    def _on_slow(self, took_s: float) -> None:
        self._later(lambda: self._event_log.journal_slow(took_s))

    def _on_begun(self) -> None:
        told = threading.Event()

        def tell() -> None:
            self._act(lambda engine, at: engine.journal_works(at))
            told.set()

        # What the node takes from now on must be appended: the copy that follows may lack it.
        self._later(tell)
        told.wait(BEGUN_TIMEOUT_S)

    def _on_works(self) -> None:
        self._later(self._event_log.journal_works)

    def _later(self, function: Callable[[], None]) -> None:
        with suppress(RuntimeError):
            # The loop may be closed: nobody waits any more.
            self._loop.call_soon_threadsafe(function)
