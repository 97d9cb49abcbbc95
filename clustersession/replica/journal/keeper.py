"""Keeps one node's journal: appends at once, and brings it to the disk from a thread of its own.

The thread syncs a second after something was appended, or when somebody waits; it writes the
journal anew from pages of the replica when it has grown, a little at a time; and when the disk is
full or fails it removes the journal, says so, and begins another one once the disk works again.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clustersession.core.errors import ReplicaError
from clustersession.core.identity import JOURNALLED_STARTS_NOTE, STARTS_NOTE
from clustersession.core.state import Delta
from clustersession.replica.journal.reading import JournalReading
from clustersession.replica.journal.segments import (
    JournalMark,
    Segment,
    others_wait,
    read_mark,
    remove_journal,
    remove_segments,
    segments_of,
    write_mark,
)
from clustersession.replica.lasting_files import sync_directory
from clustersession.replica.replica import Replica
from clustersession.wire.journal import (
    JournalCopies,
    JournalEntry,
    JournalLife,
    JournalMembers,
    JournalSynced,
    JournalWhole,
    has_ends,
)

SYNC_INTERVAL_S = 1.0
GROWN_BYTES = 16 * 2**20
"""How much a journal may grow beyond twice what it holds before it is written anew."""

PAGE_BYTES = 2**16
PAUSE_S = 0.005
"""Between two pages, for those who wait for the interpreter or for the disk."""

SLOW_S = 1.0
"""From when on a sync is told: what a power cut takes is that much more than one is promised."""

AGAIN_S = 10.0
ROOM_BYTES = 2 * GROWN_BYTES
_NEVER_S = float("inf")
_WAIT_S_MAX = 3600.0

_log = logging.getLogger("clustersession")


def _nothing(*arguments: object) -> None:
    pass


@dataclass(slots=True)
class JournalListener:
    """Is told what becomes of a journal, in its thread.

    synced: everything before the request with this number is on the disk. failed: why the journal
    is away, and whether it was before. slow: how long the disk took for a sync, when that was
    long. begun: it takes what is appended again; all that the replica
    takes later must be. works: it is whole again. collect: called each second, to append; None
    where others append.
    """

    synced: Callable[[int], None] = _nothing
    failed: Callable[[str, bool], None] = _nothing
    slow: Callable[[float], None] = _nothing
    begun: Callable[[], None] = _nothing
    works: Callable[[], None] = _nothing
    collect: Callable[[], None] | None = None


@dataclass(slots=True)
class JournalState:
    """Holds what people see of a journal.

    pending: what it holds has not been merged back. failed: why it is away; empty while it is not.
    """

    bytes: int = 0
    synced_s: float = 0.0
    longest_sync_s: float = 0.0
    rewritings: int = 0
    failures: int = 0
    pending: bool = False
    failed: str = ""


@dataclass(slots=True)
class _Rewriting:
    """Is a copy of the replica on its way into a new segment; ``before`` may go when it is there.
    """

    before: Sequence[Path]
    due_s: float
    after_key: str = ""


class JournalKeeper:
    """Keeps the journal in a directory, for the one process of the node that does so.

    directory: the journal's. own_upto: up to where it has our own feed.

    _changed: held while something is appended or the segment changes; wakes the thread.
    _segment: takes what is appended; None before the first time, and while the journal is away.
    _retired: earlier segments that the thread has yet to sync and close.
    _last: the newest entries that stand at the head of a new segment.
    _dirty_s: since when there is something that is not on the disk; 0.0 for nothing.
    _wanted, _answered: the highest number that a sync was asked for with, and answered.
    _synced_place: up to where the segment is on the disk, while it does not say so itself; else 0.
    _base_bytes: what the journal held when it was written anew.
    _has_all: out of the segments everything could be made anew.
    _mark_wanted: the mark does not name our node and its start, or may not.
    _untold: the journal is away, and nobody has been told.
    _announced: somebody was told, and not yet that it works again.
    """

    def __init__(
        self, directory: Path, replica: Replica, listener: JournalListener,
        *, ends_only: bool = False,
    ) -> None:
        self.directory = directory
        self.state = JournalState()
        self.own_upto = 0
        self._replica = replica
        self._listener = listener
        self._ends_only = ends_only
        self._changed = threading.Condition()
        self._segment: Segment | None = None
        self._retired: list[Segment] = []
        self._last: dict[type, JournalEntry] = {}
        self._dirty_s = self._collected_s = self._again_s = 0.0
        self._wanted = self._answered = 0
        self._synced_place = self._base_bytes = 0
        self._rewriting: _Rewriting | None = None
        self._rewrite_wanted = False
        self._has_all, self._mark_wanted = False, True
        self._untold = self._announced = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    # ---- beginning -------------------------------------------------------------------------------

    def open(self) -> JournalReading | None:
        """Go on with the journal that is there; to be called before anything is appended.

        Returns what is to be merged back, when the replica is not the one that the journal was
        written beside; its ``look`` and ``adopt`` are to follow.
        """
        mark, reading = read_mark(self.directory), JournalReading(self.directory)
        if mark is None or reading.is_empty:
            self._begin_anew()
            return None
        if mark.node != self._replica.node:
            self.state.pending = True
            return reading
        # The mark may be of an earlier start than the last one, which was killed before it wrote
        # its own; of a later one, where the replica was set back.
        if not mark.starts <= self._starts() <= self._starts(JOURNALLED_STARTS_NOTE):
            # A version that knows nothing of the journal has run meanwhile.
            self._begin_anew()
            return None
        reading.look()
        self.adopt(reading)
        self._has_all = True
        return None

    def adopt(self, reading: JournalReading) -> None:
        """Take over what a journal says whose ends were gone through."""
        found = reading.found
        for entry in (found.life, found.members):
            if entry is not None:
                self._last[type(entry)] = entry
        if found.life is not None and found.life.node == self._replica.node:
            self.own_upto = found.own_upto
        self.state.bytes = reading.size
        self._base_bytes = self._replica.stats().bytes_used // 2

    @property
    def former(self) -> tuple[bytes, ...]:
        """Return the ids of former lives, as the journal has them."""
        life = self._last.get(JournalLife)
        return tuple(life.former) if isinstance(life, JournalLife) else ()

    @property
    def members(self) -> Mapping[bytes, str]:
        """Return the members, as the journal has them."""
        members = self._last.get(JournalMembers)
        return members.members if isinstance(members, JournalMembers) else {}

    def _starts(self, note: str = STARTS_NOTE) -> int:
        return int(self._replica.load_note(note) or b"0")

    def _begin_anew(self) -> None:
        if segments_of(self.directory):
            remove_journal(self.directory)
        self.own_upto = self._replica.head()
        stats = self._replica.stats()
        self._has_all = not stats.sessions + stats.tombstones
        self._rewrite_wanted = not self._has_all

    # ---- appending -------------------------------------------------------------------------------

    def append(self, entries: Sequence[JournalEntry], sync: int = 0) -> None:
        """Write entries; with a number, have ``synced`` called when they are on the disk."""
        with self._changed:
            self._remember(entries)
            if self.state.failed:
                return
            try:
                self._append(self._kept(entries))
            except OSError as error:
                self._fail(error)
            self._wanted = max(self._wanted, sync)
            if sync or not self._dirty_s:
                self._dirty_s = self._dirty_s or time.monotonic()
                self._wake()

    def _append(self, entries: Sequence[JournalEntry]) -> None:
        if not entries:
            return
        if self._segment is None:
            self._next_segment()
        assert self._segment is not None
        if self._synced_place:
            entries = [JournalSynced(self._synced_place), *entries]
            self._synced_place = 0
        self.state.bytes += self._segment.append(entries)

    def _kept(self, entries: Sequence[JournalEntry]) -> Sequence[JournalEntry]:
        if not self._ends_only:
            return entries
        kept: list[JournalEntry] = []
        for entry in entries:
            if isinstance(entry, JournalCopies):
                ends = [delta for delta in entry.deltas if has_ends([delta])]
                entry = JournalCopies(entry.own_upto, ends)
                if not ends:
                    continue
            kept.append(entry)
        return kept

    def _remember(self, entries: Sequence[JournalEntry]) -> None:
        for entry in entries:
            match entry:
                case JournalLife(node):
                    before = self._last.get(JournalLife)
                    if isinstance(before, JournalLife) and before.node != node:
                        self.own_upto = 0
                    self._last[JournalLife] = entry
                    self._mark_wanted = True
                case JournalMembers():
                    self._last[JournalMembers] = entry
                case JournalCopies(own_upto):
                    self.own_upto = max(self.own_upto, own_upto)

    def _next_segment(self) -> None:
        """Go on in a new segment, with the newest entries at its head."""
        with others_wait(self.directory):
            segment = Segment.begin(self.directory)
        if self._segment is not None:
            self._retired.append(self._segment)
        self._segment, self._synced_place = segment, 0
        head = [*self._last.values(), JournalCopies(self.own_upto, ())]
        self.state.bytes += segment.append(head)

    # ---- the thread ------------------------------------------------------------------------------

    def start(self) -> None:
        """Have the thread run from now on, and not from the first entry on."""
        with self._changed:
            self._wake()

    def recovered(self) -> None:
        """Note that what was pending is merged or dropped: from now on the replica has it all."""
        with self._changed:
            self.state.pending = False
            self._rewrite_wanted = True
            self._wake()

    def close(self) -> None:
        """Bring what was appended to the disk, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._changed:
            for segment in (*self._retired, *([self._segment] if self._segment else [])):
                segment.close()
            self._retired, self._segment = [], None

    def _wake(self) -> None:
        if self._thread is None and not self._stopping:
            thread = threading.Thread(
                target=self._run, name="clustersession-journal", daemon=True
            )
            thread.start()
            self._thread = thread
        self._changed.notify()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._wait()
            try:
                if not self.state.failed:
                    self._collect(stopping)
                    self._sync(stopping)
                if not stopping:
                    self._tend()
            except OSError as error:
                with self._changed:
                    self._fail(error)
            except ReplicaError as error:
                self._put_off()
                _log.debug("clustersession: the journal waits for the replica: %s", error)
            except Exception:
                self._put_off()
                _log.exception("clustersession: the journal's thread failed")
            self._tell()

    def _put_off(self) -> None:
        with self._changed:
            if self._rewriting is not None:
                self._rewriting.due_s = time.monotonic() + AGAIN_S

    def _wait(self) -> bool:
        """Wait until there is something to do; True when it is the last time."""
        with self._changed:
            while not self._stopping:
                left_s = self._next_s() - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(min(left_s, _WAIT_S_MAX))
            return self._stopping

    def _next_s(self) -> float:
        if self.state.failed:
            return 0.0 if self._untold else self._again_s
        if self._wanted > self._answered or (self._rewrite_wanted and not self.state.pending):
            return 0.0
        next_s = _NEVER_S if self._rewriting is None else self._rewriting.due_s
        if self._dirty_s:
            next_s = min(next_s, self._dirty_s + SYNC_INTERVAL_S)
        if self._listener.collect is not None:
            next_s = min(next_s, self._collected_s + SYNC_INTERVAL_S)
        return next_s

    def _collect(self, at_once: bool) -> None:
        now_s = time.monotonic()
        if self._listener.collect is not None and (
            at_once or now_s >= self._collected_s + SYNC_INTERVAL_S
        ):
            self._collected_s = now_s
            self._listener.collect()
            with self._changed:
                # What was collected has waited long enough.
                self._dirty_s = self._dirty_s and min(self._dirty_s, now_s - SYNC_INTERVAL_S)

    def _sync(self, at_once: bool) -> None:
        with self._changed:
            began_s, number, segment = time.monotonic(), self._wanted, self._segment
            due = self._dirty_s and (at_once or began_s >= self._dirty_s + SYNC_INTERVAL_S)
            if segment is None or not (due or number > self._answered):
                return
            retired, self._retired = self._retired, []
            self._dirty_s, place = 0.0, segment.size
        for earlier in retired:
            earlier.sync()
            earlier.close()
        segment.sync()
        if retired or self._mark_wanted:
            sync_directory(self.directory)
        if self._mark_wanted and self._has_all:
            self._write_mark()
        with self._changed:
            if segment is self._segment:
                self._synced_place = place
            self._answered = max(self._answered, number)
            self.state.synced_s = time.monotonic()
            took_s = self.state.synced_s - began_s
            self.state.longest_sync_s = max(self.state.longest_sync_s, took_s)
        if number:
            self._listener.synced(number)
        if took_s >= SLOW_S:
            self._listener.slow(took_s)

    def _write_mark(self) -> None:
        self._mark_wanted = False
        write_mark(self.directory, JournalMark(self._replica.node, self._starts()))

    # ---- writing it anew -------------------------------------------------------------------------

    def _tend(self) -> None:
        if self._untold:
            return
        if self.state.failed:
            if time.monotonic() >= self._again_s:
                self._again_s = time.monotonic() + AGAIN_S
                if self._has_room():
                    self._begin_rewriting()
                    self._listener.begun()
        elif self._rewriting is not None:
            if time.monotonic() >= self._rewriting.due_s:
                self._write_page(self._rewriting)
        elif self._is_grown() and not self.state.pending:
            self._begin_rewriting()

    def _is_grown(self) -> bool:
        if self._rewrite_wanted:
            return True
        grown = self.state.bytes > 2 * self._base_bytes + GROWN_BYTES
        if grown and not self._has_room():
            # Rather a long journal than a full disk. Looked at again when it has grown once more.
            self._base_bytes = self.state.bytes // 2
            return False
        return grown

    def _has_room(self) -> bool:
        disk = os.statvfs(self.directory.parent)
        return disk.f_bavail * disk.f_frsize > self._replica.stats().bytes_used + ROOM_BYTES

    def _begin_rewriting(self) -> None:
        before = segments_of(self.directory)
        with self._changed:
            self._rewrite_wanted = False
            self._next_segment()
            self.state.failed = ""
            self._rewriting = _Rewriting(before, time.monotonic())
            self._dirty_s = self._dirty_s or time.monotonic()

    def _write_page(self, rewriting: _Rewriting) -> None:
        page = self._replica.snapshot(rewriting.after_key, PAGE_BYTES)
        ends: list[Delta] = []
        live: list[Delta] = []
        for key, state in page.sessions:
            delta = Delta(key, state, full=True)
            (ends if has_ends([delta]) else live).append(delta)
        entries: list[JournalEntry] = [JournalCopies(0, part) for part in (ends, live) if part]
        with self._changed:
            if self._rewriting is not rewriting:
                return
            self._append(self._kept(entries))
            self._dirty_s = self._dirty_s or time.monotonic()
        rewriting.after_key = page.next_key
        rewriting.due_s = time.monotonic() + PAUSE_S
        if page.done:
            self._finish_rewriting(rewriting)

    def _finish_rewriting(self, rewriting: _Rewriting) -> None:
        with self._changed:
            self._append([JournalWhole()])
            self._rewriting, self._has_all, self._mark_wanted = None, True, True
        self._sync(at_once=True)
        with others_wait(self.directory):
            remove_segments(rewriting.before)
        sync_directory(self.directory)
        with self._changed:
            assert self._segment is not None
            self.state.bytes = self._base_bytes = self._segment.size
            self.state.rewritings += 1
            announced, self._announced = self._announced, False
        if announced:
            self._listener.works()

    # ---- a disk that does not do its part --------------------------------------------------------

    def _fail(self, error: OSError) -> None:
        """Let the journal go; the lock is held. What is done about it, the thread does."""
        self.state.failed = error.strerror or str(error)
        self.state.failures += 1
        self.state.bytes = 0
        if self._segment is not None:
            self._retired.append(self._segment)
        self._segment, self._rewriting, self._dirty_s = None, None, 0.0
        self._answered = self._wanted
        self._again_s = time.monotonic() + AGAIN_S
        self._has_all, self._mark_wanted, self._untold = False, True, True
        self._wake()

    def _tell(self) -> None:
        if not self._untold:
            return
        with self._changed:
            retired, self._retired = self._retired, []
        for segment in retired:
            segment.close()
        # Ends may be missing in it from now on: out of what is there, a session could come back.
        remove_journal(self.directory)
        self.state.pending = self._untold = False
        again, self._announced = self._announced, True
        self._listener.failed(self.state.failed, again)
