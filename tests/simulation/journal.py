"""The journal of one host on a disk that syncs late, loses what is not synced, tears and fails.

It stands where ``clustersession.agent`` has files: entries are kept as they are, because how they
are read back from torn bytes is tested with the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import Delta, SessionState, apply_delta, shared
from clustersession.node.journal_port import JournalPage, JournalPast
from clustersession.wire.journal import (
    JournalCopies,
    JournalDamage,
    JournalEntry,
    JournalLife,
    JournalMembers,
)

if TYPE_CHECKING:
    from clustersession.replica.replica import Replica

SYNC_S = 0.0005
PAGE_SESSIONS = 3
REWRITTEN_ABOVE = 80

Sessions = dict[str, SessionState]


class SimulatedJournal:
    """What one host has appended; implements ``journal_port.JournalPort``.

    sync_s, sync_s_max: how long a sync takes, and took at most. works: False while the disk takes
    nothing; worked_since_s: when that was over. waiting: what was in a replica that is lost, until
    it is merged or dropped; None when nothing waits.
    """

    def __init__(self) -> None:
        self.sync_s = self.sync_s_max = SYNC_S
        self.works = True
        self.worked_since_s = 0.0
        self.waiting: Sessions | None = None
        self._entries: list[JournalEntry | JournalDamage] = []
        self._synced = 0
        # So that a sync of what has been rewritten since marks nothing.
        self._generation = 0
        self._ends: Sessions = {}

    @property
    def past(self) -> JournalPast:
        """What an agent that starts is told."""
        lives = [entry for entry in self._entries if isinstance(entry, JournalLife)]
        lists = [entry for entry in self._entries if isinstance(entry, JournalMembers)]
        if not lives:
            return JournalPast(waiting=self.waiting is not None)
        place = self._entries.index(lives[-1])
        own = [
            entry.own_upto for entry in self._entries[place:]
            if isinstance(entry, JournalCopies) and entry.own_upto
        ]
        whole = not any(isinstance(entry, JournalDamage) for entry in self._entries)
        return JournalPast(
            lives[-1].node, tuple(lives[-1].former), lists[-1].members if lists else {},
            max(own, default=0), whole, self.waiting is not None,
        )

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """The kernel has them."""
        if self.works:
            self._entries += entries

    def begin_sync(self) -> tuple[int, int]:
        """What a sync that begins now will bring to the disk."""
        return self._generation, len(self._entries)

    def end_sync(self, begun: tuple[int, int]) -> None:
        """It is there."""
        if begun[0] == self._generation:
            self._synced = max(self._synced, begun[1])

    def has_synced_end(self, key: str) -> bool:
        """Whether the disk knows that a session has ended, or the record of a revocation."""
        return any(
            delta.key == key and (delta.state.ended is not None or key[0] == RESERVED_PREFIX)
            for entry in self._entries[: self._synced] if isinstance(entry, JournalCopies)
            for delta in entry.deltas
        )

    # ---- what happens to it ----------------------------------------------------------------------

    def lose_power(self, kept: int) -> None:
        """Keep what was synced, and ``kept`` more entries; the rest is torn. What is left waits."""
        del self._entries[self._synced + kept :]
        self._synced = len(self._entries)
        self.waiting = None
        if any(isinstance(entry, JournalLife) for entry in self._entries):
            self.waiting = folded(self._entries)

    @property
    def unsynced(self) -> int:
        """How many entries a power cut may take."""
        return len(self._entries) - self._synced

    def damage(self, place: int) -> bool:
        """Lose one synced entry that others follow; whether there was one."""
        if self._synced < 3:
            return False
        self._entries[1 + place % (self._synced - 2)] = JournalDamage(0, 1)
        if self.waiting is not None:
            self.waiting = folded(self._entries)
        return True

    def wipe(self) -> None:
        """Everything is gone."""
        self._entries, self._synced, self.waiting = [], 0, None
        self._generation += 1

    def fail(self) -> None:
        """The disk takes no more, and what is on it must not be taken for the truth."""
        self.wipe()
        self.works = False

    def rewrite(self, replica: Replica) -> None:
        """Take a copy of the replica in the place of all that was appended."""
        past = self.past
        page = replica.snapshot("", 2**40)
        head = replica.head()
        copies = [Delta(key, shared(state), full=True) for key, state in page.sessions]
        self._generation += 1
        self.works = True
        self.waiting = None
        self._entries = [
            JournalLife(past.node, past.former), JournalMembers(0, dict(past.members)),
            JournalCopies(head if past.node == replica.node else 0, copies),
        ]
        self._synced = len(self._entries)

    @property
    def has_grown(self) -> bool:
        """Whether it is to be rewritten."""
        return len(self._entries) > REWRITTEN_ABOVE and self.waiting is None and self.works

    def page(self, ends: bool, after_key: str) -> JournalPage:
        """A part of what waits."""
        waiting = self.waiting or {}
        keys = sorted(key for key in waiting if key > after_key)
        if ends:
            keys = [
                key for key in keys
                if waiting[key].ended is not None or key[0] == RESERVED_PREFIX
            ]
        chosen = keys[:PAGE_SESSIONS]
        last = chosen[-1] if chosen else after_key
        sessions = [(key, waiting[key]) for key in chosen]
        return JournalPage(ends, after_key, sessions, last, len(chosen) == len(keys))


def folded(entries: Iterable[JournalEntry | JournalDamage]) -> Sessions:
    """The sessions that entries add up to.

    After damage a change counts only for a session that was there whole since: its versions would
    claim what is lost.
    """
    sessions: Sessions = {}
    doubted: set[str] | None = None
    for entry in entries:
        if isinstance(entry, JournalDamage):
            doubted = set()
        if not isinstance(entry, JournalCopies):
            continue
        for delta in entry.deltas:
            if doubted is not None and delta.full:
                doubted.add(delta.key)
            elif doubted is not None and delta.key not in doubted:
                continue
            state = apply_delta(sessions.get(delta.key), delta)
            if state is not None:
                sessions[delta.key] = state
    return sessions
