"""Keeps the journal abreast of the replica, and knows which ends are on the disk.

What peers send is appended before the replica takes it. What our own workers wrote is read from
our feed, once a second, or at once when somebody waits for an end. An end is confirmed to nobody
before it is on the disk: whoever is told that it is held may be the last who remembers it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from clustersession.core.clock import too_far_ahead
from clustersession.core.feed import START, Cursor, advance
from clustersession.core.state import IDLE_TIMEOUT, Delta, SessionState, highest_time, shared
from clustersession.node.effects import SyncJournal
from clustersession.node.journal_port import NEW_JOURNAL, JournalPast, JournalPort
from clustersession.node.moment import Moment
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire.journal import JournalCopies, JournalEntry, has_ends

SYNC_S = 1.0
BATCH_BYTES_MAX = 256 * 1024
BATCH_DELTAS_MAX = 64
"""Some 2 ms of work: who waits for the agent waits for one part, and not for all of a second."""


class Untold(NamedTuple):
    """Says that a peer is not told our cursor before a sync, because of an end that came with it.

    number: of the sync. told: the cursor until then; None: nothing is told at all.
    until_s: when it is told all the same; who waited for the end has given up by then.
    """

    number: int
    told: Cursor | None
    until_s: float


class Journaling:
    """Appends to the journal of one life of a node and asks for syncs; without one does nothing."""

    def __init__(
        self, settings: Settings, replica: Replica, port: JournalPort | None = None,
        past: JournalPast = NEW_JOURNAL,
    ) -> None:
        self._settings = settings
        self._replica = replica
        self._port = port
        # Whether what is appended will be there after a power cut.
        self.works = port is not None
        self._only_ends = settings.effective_durability == "end"
        # How far our own feed is in the journal, and up to where on the disk.
        self._own = START
        self.own_synced = 0
        # Where our feed stood when that was looked at last.
        self._head = 0
        if past.node == replica.node:
            self._own = Cursor(past.own_upto, past.own_upto)
        # The last sync that was asked for, and how far our own feed was in the journal then, of
        # each that has not been answered.
        self._asked = 0
        self._own_when_asked: deque[tuple[int, int]] = deque()
        # When the next sync is due; infinite while everything is on the disk or about to be.
        self._due_s = float("inf")
        # When the next part of our own feed is due, after one that was not all; infinite after the
        # last. The sync comes with that, or when it is due by itself.
        self._next_part_s = float("inf")
        # Up to where in our feed somebody waits for an end.
        self._wanted_seq = 0
        # By peer, oldest first: what it is not to be told yet.
        self._held: dict[bytes, deque[Untold]] = {}
        self._emit: Callable[[SyncJournal], None]
        self._retime: Callable[[], None]

    def bind(self, emit: Callable[[SyncJournal], None], retime: Callable[[], None]) -> None:
        """Say where effects go, and whom to tell that the next deadline may have changed."""
        self._emit, self._retime = emit, retime

    @property
    def is_kept(self) -> bool:
        """Tell whether this node is to have a journal, even if that does not work at present."""
        return self._port is not None

    def succeed(self, before: "Journaling") -> None:
        """Go on counting syncs: an answer to the life before must not count for this one."""
        self._asked, self.works = before._asked, before.works

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """Append, to be synced when that is asked for."""
        if self._port is not None and self.works:
            self._port.append(entries)

    def append_soon(self, entries: Sequence[JournalEntry], at: Moment) -> None:
        """Append, to be synced within a second."""
        if self.works:
            self.append(entries)
            self._sync_by(at.now_s + SYNC_S)

    def sync(self) -> int:
        """Ask for a sync of all that was appended; returns its number."""
        self._asked += 1
        if self._own.floor >= self._head:
            self._due_s = float("inf")
        self._own_when_asked.append((self._asked, self._own.floor))
        self._emit(SyncJournal(self._asked))
        self._retime()
        return self._asked

    # ---- what peers send -------------------------------------------------------------------------

    def received(self, deltas: Sequence[Delta], at: Moment) -> bool:
        """Append what a peer sent, before the replica takes it; True: there are ends among it."""
        if not self.works or not deltas:
            return False
        # What the replica refuses for its stamps must not be there when it is made anew.
        lead_ms_max = self._settings.stamp_lead_ms_max
        deltas = [
            delta for delta in deltas
            if not too_far_ahead(highest_time(delta.state), at.wall_ms, lead_ms_max)
        ]
        ends = has_ends(deltas)
        if self._only_ends:
            deltas = [delta for delta in deltas if has_ends([delta])]
        if deltas:
            self.append_soon([JournalCopies(0, deltas)], at)
        return ends

    def received_copies(self, copies: Iterable[tuple[str, SessionState]], at: Moment) -> None:
        """Append whole copies of sessions that a peer sent."""
        if self.works:
            self.received([Delta(key, state, full=True) for key, state in copies], at)

    def hold(self, node: bytes, told: Cursor | None, at: Moment) -> None:
        """Have a peer be told no more than a cursor until what was appended is on the disk."""
        self.hold_all([(node, told)], at)

    def hold_all(self, told: Iterable[tuple[bytes, Cursor | None]], at: Moment) -> None:
        """Hold the cursors of several peers until one sync."""
        if self.works:
            number, until_s = self.sync(), at.now_s + self._settings.ack_timeout_s
            for node, cursor in told:
                self._held.setdefault(node, deque()).append(Untold(number, cursor, until_s))

    def told(self, node: bytes, cursor: Cursor) -> Cursor | None:
        """Return what a peer may be told of our cursor on its feed; None: nothing yet."""
        held = self._held.get(node)
        return cursor if held is None else held[0].told

    def forget(self, node: bytes) -> None:
        """Forget a node that is nobody's any more."""
        self._held.pop(node, None)

    # ---- what our workers write ------------------------------------------------------------------

    def moved(self, head: int, at: Moment) -> None:
        """Note where our feed stands: what is new there is written in a second."""
        self._head = head
        if self.works and head != self._own.floor:
            self._sync_by(at.now_s + SYNC_S)

    def want(self, seq: int) -> None:
        """Note that somebody waits for an end at a place in our feed."""
        self._wanted_seq = max(self._wanted_seq, seq)

    def write_wanted(self, at: Moment) -> None:
        """Bring to the disk what somebody waits for, if it is not on its way."""
        if self.works and self._wanted_seq > self._own.floor and self._write_part(at):
            self.sync()

    def _write_part(self, at: Moment) -> bool:
        """Append the next part of what is new in our feed; True: that was all of it."""
        floor, position, *_ = self._own
        batch = self._replica.feed(floor, position, BATCH_BYTES_MAX, BATCH_DELTAS_MAX)
        after = advance(self._own, batch)
        is_all = after == self._own or batch.complete
        if after != self._own:
            self._own = after
            deltas = [d for d in batch.deltas if not self._only_ends or has_ends([d])]
            self.append([JournalCopies(after.floor, [self._based(d) for d in deltas])])
        self._next_part_s = float("inf") if is_all else at.now_s
        self._retime()
        return is_all

    def _based(self, delta: Delta) -> Delta:
        """Return a change so that it can be read: whole, when the journal lacks what it changes.

        A session that began here since the last time, and that a peer has changed already, is not
        all ours. Each session gets its idle timeout when it begins.
        """
        if delta.full or IDLE_TIMEOUT not in delta.state.registers:
            return delta
        state = self._replica.get(delta.key)
        return delta if state is None else Delta(delta.key, shared(state), full=True)

    # ---- syncs -----------------------------------------------------------------------------------

    def synced(self, number: int) -> list[bytes]:
        """Note a sync; returns the peers that may now be told more."""
        while self._own_when_asked and self._own_when_asked[0][0] <= number:
            self.own_synced = max(self.own_synced, self._own_when_asked.popleft()[1])
        return self._release(lambda held: held.number <= number)

    def failed(self) -> list[bytes]:
        """Go on without: nobody waits for the disk any more. Returns who may be told more."""
        self.works = False
        self._due_s = self._next_part_s = float("inf")
        self._own_when_asked.clear()
        self._retime()
        return self._release(lambda _: True)

    def begun_anew(self, at: Moment) -> None:
        """Note that the journal works again, and has a copy of the replica."""
        self.works = self._port is not None
        self._sync_by(at.now_s)

    def handle_timer(self, at: Moment) -> list[bytes]:
        """Sync what is due; returns the peers that are told more because a sync takes too long."""
        if at.now_s >= self._due_s:
            self._due_s = float("inf")
            is_all = self._write_part(at)
            self.sync()
            if not is_all:
                self._sync_by(at.now_s + SYNC_S)
        elif at.now_s >= self._next_part_s and self._write_part(at):
            self.sync()
        return self._release(lambda held: held.until_s <= at.now_s)

    def next_deadline(self) -> float:
        """Return when ``handle_timer`` has something to do."""
        held_s = min((held[0].until_s for held in self._held.values()), default=float("inf"))
        return min(self._due_s, self._next_part_s, held_s)

    def _sync_by(self, due_s: float) -> None:
        if due_s < self._due_s:
            self._due_s = due_s
            self._retime()

    def _release(self, may: Callable[[Untold], bool]) -> list[bytes]:
        released: list[bytes] = []
        for node, held in list(self._held.items()):
            count = len(held)
            while held and may(held[0]):
                held.popleft()
            if not held:
                del self._held[node]
            if len(held) < count:
                released.append(node)
        if released:
            self._retime()
        return released
