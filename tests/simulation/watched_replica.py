"""A replica in memory that is watched: every change of it is checked against what must always hold.

The logic is the product's own; only the disk is simulated, with the two ways it fails: no space,
and falling back to an earlier state.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from clustersession.core.elements import SEEN_SUM, element_name
from clustersession.core.errors import ReplicaFull
from clustersession.core.feed import START, Batch, Cursor
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import (
    ENDED_REVOKED,
    LOCAL_PREFIX,
    Change,
    Register,
    SessionState,
    expires_ms,
    merge,
)
from clustersession.replica.engines.memory import MemoryEngine, MemoryTransaction
from clustersession.replica.replica import Replica
from clustersession.replica.results import Applied, Committed
from clustersession.replica.tables import META, NOTES
from clustersession.replica.turns import CountedTurn
from tests.simulation.claims import check_claim, check_versions
from tests.simulation.ledger import Fact, Ledger, Store, Violation
from tests.simulation.merging import check_slots
from tests.simulation.timeline import WALL_START_MS
from tests.simulation.users import check_local

SPARE_MAX = 5
SESSIONS_A_TURN = 2

_NONE = Register(-1, b"", 0, None)

Put = Callable[[int, bytes, bytes], None]
Tables = list[tuple[list[bytes], dict[bytes, bytes]]]


class Disk(MemoryEngine):
    """Tables that can be full, and can fall back to what they were."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self._spare = 0

    def _running_out(self, put: Put) -> Put:
        """There is a little space, so that transactions fail in their midst."""
        self._spare = left = (self._spare + 1) % SPARE_MAX

        def put_a_few(table: int, key: bytes, value: bytes) -> None:
            nonlocal left
            left -= 1
            if left < 0 or table in (NOTES, META):
                raise ReplicaFull("no space left on the simulated disk")
            put(table, key, value)

        return put_a_few

    @contextmanager
    def write(self, *, leaving: float = 0.0) -> Iterator[MemoryTransaction]:
        with super().write(leaving=leaving) as transaction:
            if self.full:
                transaction.put = self._running_out(transaction.put)  # type: ignore[method-assign]
            yield transaction

    def bytes_used(self) -> int:
        # So that a few small sessions are more than the smallest bound that may be set.
        return 10_000 * super().bytes_used()

    def copy(self) -> Tables:
        """Everything as it stands."""
        return [(list(table.order), dict(table.values)) for table in self._tables]

    def fall_back(self, tables: Tables) -> None:
        """Be what it was."""
        for table, (order, values) in zip(self._tables, tables, strict=True):
            table.order, table.values = list(order), dict(values)




class WatchedReplica(Replica):
    """One store of one host."""

    def __init__(
        self, node: bytes, ledger: Ledger, host: str, now_s: Callable[[], float], skew_ms_max: int,
        life: Store | None = None,
    ) -> None:
        self.disk = Disk()
        super().__init__(
            self.disk, lambda: node, clock_skew_ms_max=skew_ms_max, ends_at_once=1,
            turn=partial(CountedTurn, SESSIONS_A_TURN),
        )
        # After a power cut what is in the journal goes on, in the same life of the store.
        self.life = ledger.new_store(host) if life is None else life
        self._ledger = ledger
        self._now_s = now_s
        self._cursors_seen: dict[bytes, Cursor] = {}
        self._wall_ms = 0
        self._own_nodes = {self.node}
        self.in_store: Callable[[str], SessionState | None] = lambda key: None
        # What a request has put in the place of a session that had left, because the store did not
        # give it. It may lack what was written here before, until the store is heard.
        self._taken_back: set[str] = set()
        self.commits: dict[int, tuple[bytes, range]] = {}
        # What a session was when a commit here ended it.
        self.last_copies: dict[str, SessionState] = {}
        # Which values requests here have found to be over, and which ones they have swapped.
        self.over: set[tuple[str, int, bytes]] = set()
        self.swapped: set[tuple[str, object]] = set()
        self._synced = (self.disk.copy(), self.node, 0)

    # ---- the disk --------------------------------------------------------------------------------

    def sync(self) -> None:
        """What is here now will survive."""
        self._synced = (self.disk.copy(), self.node, self.head())

    def fall_back(self) -> None:
        """Lose what was not synced."""
        tables, node, head = self._synced
        current = self.node
        self.disk.fall_back(tables)
        if current == node:
            self._ledger.fall_back(self.life, node, head, self._now_s())
        else:
            self._ledger.fall_back(self.life, current, 0, self._now_s())
        self.life.ended = {key for key in self.life.ended if self._is_ended(key)}
        self.life.last_access_s.clear()
        self.over.clear()
        self.swapped.clear()
        self._cursors_seen = dict(self.cursors())

    def _is_ended(self, key: str) -> bool:
        state = self.get(key)
        return state is not None and state.ended is not None

    # ---- what is watched -------------------------------------------------------------------------

    def commit(self, changes: Sequence[Change], wall_ms: int) -> Committed:
        """Commit, and take down what was written."""
        before = [self.get(change.key) for change in changes]
        committed = super().commit(changes, wall_ms)
        seq = committed.head - sum(state is not None for state in committed.states)
        self.commits[committed.head] = (self.node, range(seq + 1, committed.head + 1))
        for change, old, state in zip(changes, before, committed.states, strict=True):
            if state is None:
                continue
            seq += 1
            last = change.held if old is None else old
            if change.end is not None and last is not None:
                self.last_copies[change.key] = last
            if old is None and change.creation is None:
                self._taken_back.add(change.key)
                self._ledger.marks["session taken back by its request"] += 1
            self._grown(change.key, old, state)
            check_slots(self.life.host, old, state, self.node)
            self._take_down(change, last, state, seq)
        return committed

    def apply(self, batch: Batch, wall_ms: int, *, whole: bool = False) -> Applied:
        """Apply, and see that nothing went back."""
        self._wall_ms = wall_ms
        before = {delta.key: self.get(delta.key) for delta in batch.deltas}
        for delta in batch.deltas:
            old = before[delta.key]
            if old is not None and old.ended is not None and delta.state.ended is None:
                self._ledger.marks["late delta under a tombstone"] += 1
        applied = super().apply(batch, wall_ms, whole=whole)
        for key, old in before.items():
            self._grown(key, old, self.get(key))
        if batch.sender != self.node:
            self._moved(batch.sender, applied.cursor)
        return applied

    def restore(self, sessions: Iterable[tuple[str, SessionState]], wall_ms: int) -> int:
        """Merge or restore, and see that nothing went back."""
        self._wall_ms = wall_ms
        copies = list(sessions)
        self._taken_back.difference_update(key for key, _ in copies)
        before = {key: self.get(key) for key, _ in copies}
        changed = super().restore(copies, wall_ms)
        for key, old in before.items():
            self._grown(key, old, self.get(key))
        return changed

    def take(self, batch: Batch, wall_ms: int) -> bool:
        """Take a change ahead of its stream, and see that nothing went back and no cursor moved."""
        self._wall_ms = wall_ms
        before = {delta.key: self.get(delta.key) for delta in batch.deltas}
        cursors = self.cursors()
        taken = super().take(batch, wall_ms)
        for key, old in before.items():
            self._grown(key, old, self.get(key))
        if self.cursors() != cursors:
            raise Violation(f"{self.life.host}: a change that came directly moved a cursor")
        return taken

    def inherit(self, cursors: Mapping[bytes, Cursor]) -> None:
        """Inherit, and see that no cursor went back."""
        super().inherit(cursors)
        for node, cursor in self.cursors().items():
            self._moved(node, cursor)

    def sweep(self, wall_ms: int, limit: int) -> int:
        """Sweep, and see that only what is over went."""
        # As stored: to ``get``, one of a revoked user has ended before its turn to be stored so.
        before = dict(self.snapshot("", 2**40).sessions)
        swept = super().sweep(wall_ms, limit)
        kept = set(self.keys("", 10_000))
        for key in before.keys() - kept:
            state = before[key]
            kept_ms = self._clock_skew_ms_max if state.ended else 0
            if expires_ms(state) + kept_ms >= wall_ms:
                raise Violation(f"{self.life.host} swept {key[:6]} {expires_ms(state) - wall_ms}"
                                " ms early")
            if state.ended is not None:
                self._ledger.marks["tombstone collected"] += 1
            else:
                self._ledger.expired(key, self.life)
        return swept

    def reclaim(self, key: str, wall_ms: int, *, spread: bool) -> Committed:
        """Reclaim, and see that nothing went back."""
        return self._reclaimed(super().reclaim(key, wall_ms, spread=spread))

    def reclaim_due(self, wall_ms: int, limit: int, *, spread: bool) -> Committed:
        """Do what ``reclaim`` does."""
        return self._reclaimed(super().reclaim_due(wall_ms, limit, spread=spread))

    def _reclaimed(self, committed: Committed) -> Committed:
        for key, old, new in committed.stored:
            self._grown(key, old, new)
            self._ledger.marks["expired attribute deleted"] += 1
        return committed

    def evict(self, copies: Iterable[tuple[str, SessionState]]) -> int:
        """Evict, and see that the store holds what goes."""
        given = [key for key, _ in copies]
        before = {key: state for key in given if (state := self.get(key)) is not None}
        gone = super().evict(copies)
        lately_lost = self._ledger.losses_since(self._now_s() - 1.0)
        for key, state in before.items():
            if self.get(key) is not None:
                continue
            self.over = {found for found in self.over if found[0] != key}
            self.swapped = {found for found in self.swapped if found[0] != key}
            theirs = self.in_store(key)
            if expires_ms(state) <= WALL_START_MS + self._now_s() * 1000:
                continue
            is_held = theirs is not None and merge(state, theirs) == theirs
            if not is_held and not lately_lost:
                raise Violation(f"{self.life.host} let go of {key[:6]}: {theirs} is in the store")
            # A store that was emptied a moment ago may not have been able to say so.
            self._ledger.evicted(self.life, key, is_held=is_held)
        return gone

    def renew_identity(self, node: bytes, floor: int, date_again_ms: int | None = None) -> None:
        """Renew, and take down under which stamps the last writes go on."""
        self._ledger.reissued(self.life, self.node, floor)
        if date_again_ms is not None:
            self._ledger.dated_again(self.life, date_again_ms + self._clock_skew_ms_max)
            self._ledger.marks["wrong times written again"] += 1
        super().renew_identity(node, floor, date_again_ms)
        self._own_nodes.add(node)
        facts = []
        for key in self.keys("", 10_000):
            state = self.get(key)
            if state is None or node not in state.versions:
                continue
            values: dict[int, dict[str, bytes | None]] = defaultdict(dict)
            for name, register in state.registers.items():
                if register.node == node and not self._is_local(key, name, register):
                    values[register.time][name] = register.value
            facts += [
                Fact(key, (time, node), state.versions[node], self.life, self._now_s(), written,
                     expires_ms=expires_ms(state))
                for time, written in values.items()
            ]
        for fact in sorted(facts, key=lambda fact: fact.stamp):
            self._ledger.add(fact)
        if facts:
            self._ledger.marks["written before the lost past was noticed"] += 1

    def check_size(self) -> None:
        """The feed is compacted, and its size bounded by the sessions."""
        stats = self.stats()
        records = [key for key in self.keys("", 10_000) if key.startswith(RESERVED_PREFIX)]
        if stats.feed_entries > stats.sessions + stats.tombstones + len(records):
            raise Violation(f"{self.life.host}: {stats.feed_entries} feed entries for"
                            f" {stats.sessions} sessions and {stats.tombstones} tombstones")

    def _take_down(
        self, change: Change, before: SessionState | None, state: SessionState, seq: int
    ) -> None:
        # The deletion of what expired has the place after it, and is nobody's write.
        own = {
            name: register
            for name, register in state.registers.items()
            if register.node == self.node and register.seq == seq
            and not (before is not None and register.time == before.registers.get(name, _NONE).time)
        }
        values: dict[str, bytes | None] = {
            name: register.value
            for name, register in own.items()
            if not self._is_local(change.key, name, register)
        }
        dates = {name: register.time for name, register in own.items()}
        if change.end is not None and state.ended is not None:
            time = state.ended.time
        else:
            time = max(
                (date for name, date in dates.items() if not _dates_what_it_saw(name, state)),
                default=max(dates.values(), default=0),
            )
        times = {name: dates[name] for name in values if _dates_what_it_saw(name, state)}
        if change.creation is not None:
            # A session that changed its id is as old as it was.
            age_ms = change.accessed_ms - change.creation.created_ms
            self._ledger.created_s[change.key] = self._now_s() - max(age_ms, 0) / 1000
            self._ledger.access_s.setdefault(change.key, self._now_s())
        if time:
            self._ledger.add(
                Fact(change.key, (time, self.node), seq, self.life, self._now_s(), values,
                     times, change.end, expires_ms=expires_ms(state))
            )

    def _is_local(self, key: str, name: str, register: Register) -> bool:
        """Whether no other host will ever hold it; such a write is noted here."""
        if not name.startswith(LOCAL_PREFIX):
            return False
        self._ledger.written[(key, name, register.time, register.node)] = register.value
        return True

    def _grown(self, key: str, old: SessionState | None, new: SessionState | None) -> None:
        if new is None:
            if old is not None:
                raise Violation(f"{self.life.host} lost its copy of {key[:6]}")
            return
        if old is not None and merge(_revoked_as(old, new), new) != new:
            raise Violation(f"{self.life.host}: a copy of {key[:6]} went back: {old} -> {new}")
        if key not in self._taken_back:
            check_versions(self._ledger, self.life.host, key, new)
        check_local(self.life.host, self._own_nodes, key, new)
        if new.ended is not None:
            self.life.ended.add(key)
        elif key in self.life.ended:
            raise Violation(f"{self.life.host}: the ended session {key[:6]} came back")

    def _moved(self, node: bytes, cursor: Cursor) -> None:
        seen = self._cursors_seen.get(node, START)
        if cursor.floor < seen.floor or cursor.position < seen.position:
            raise Violation(f"{self.life.host}: its cursor went from {seen} to {cursor}")
        latest_ms = self._wall_ms + self._clock_skew_ms_max
        check_claim(self, self.life.host, self._ledger, node, (seen, cursor), latest_ms)
        self._cursors_seen[node] = cursor


def _dates_what_it_saw(name: str, state: SessionState) -> bool:
    """Whether a register is dated as what was deleted, and not as the commit that deleted it."""
    known = element_name(name)
    if known is None:
        return False
    return known.kind == SEEN_SUM or state.registers[name].value is None


def _revoked_as(old: SessionState, new: SessionState) -> SessionState:
    """The old copy with the end of the new one, if both were revoked.

    Until the end of a session is stored, the record stands for it, and that of a later revocation
    takes the place of an earlier one's.
    """
    ends = old.ended, new.ended
    if all(end is not None and end.reason == ENDED_REVOKED for end in ends):
        return replace(old, ended=new.ended)
    return old
