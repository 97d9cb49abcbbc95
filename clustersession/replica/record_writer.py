"""Writes sessions within one transaction, with every index that must move along."""

from clustersession.core.clock import next_time
from clustersession.core.creation_rate import after_one_more
from clustersession.core.digest import entry_hash
from clustersession.core.errors import SessionTooLarge, WireError
from clustersession.core.expiring_values import LAST_MS
from clustersession.core.reclaiming import NEVER_MS, next_expiry_ms, without_expired
from clustersession.core.revocation import (
    RESERVED_PREFIX,
    judged,
    revocation_in,
    revocation_key,
    tag_of_revocation,
)
from clustersession.core.state import (
    PRINCIPAL,
    Change,
    Delta,
    Register,
    SessionState,
    apply_change,
    apply_delta,
    expires_ms,
    highest_time,
)
from clustersession.replica import tables
from clustersession.replica.decoded import DecodedRecords
from clustersession.replica.engines.contract import WriteTransaction
from clustersession.replica.principals import keys_of, tag_of
from clustersession.replica.reading import head_from
from clustersession.replica.results import Stored

_BOOKKEEPING = ((tables.META, tables.HEAD_KEY), (tables.META, tables.REVOKING_KEY))


class RecordWriter:
    """Writes records, and the head and the digests when it is done: call ``finish`` at the end.

    ends_at_once: how many sessions of a revoked user one transaction ends, see ``end_revoked``.
    node: the node id; never changes here.
    seq: the highest place in our feed; grows with each commit.
    highest: the highest hybrid time issued or seen; never goes back.
    stored: every session written, in order, when somebody wants to know; else None.
    _revoking: how far each revoked user's sessions have been ended, see ``end_revoked``.
    _before: the head as it was read; written back by ``finish`` if it is another by then.
    _tombstones: how many sessions of the replica have ended.
    _digests: per row of the digests table, what is to be mixed in by ``finish``: once per bucket
        and not per session, because those of a page of a snapshot share a few.
    """

    def __init__(
        self,
        transaction: WriteTransaction,
        decoded: DecodedRecords,
        clock_skew_ms_max: int,
        ends_at_once: int,
    ) -> None:
        self._transaction = transaction
        self._ends_at_once = ends_at_once
        self._decoded = decoded
        self._clock_skew_ms_max = clock_skew_ms_max
        self._digests: dict[bytes, int] = {}
        self.stored: list[Stored] | None = None
        head, revoking = transaction.get_all(_BOOKKEEPING)
        self._revoking = tables.decode_revoking(revoking) if revoking else {}
        self._before = head_from(head)
        self.node, self.seq, self.highest, self._tombstones = self._before

    def raise_highest(self, time: int) -> None:
        """Keep the clock from falling behind ``time``."""
        if time > self.highest:
            self.highest = time

    def finish(self) -> None:
        """Write the head back when anything in it moved, and the digests of what was stored."""
        for row, change in self._digests.items():
            if not change:
                continue
            digest = tables.decode_digest(self._transaction.get(tables.DIGESTS, row))
            self._transaction.put(tables.DIGESTS, row, tables.encode_digest(digest ^ change))
        head = tables.Head(self.node, self.seq, self.highest, self._tombstones)
        if head != self._before:
            self._transaction.put(tables.META, tables.HEAD_KEY, tables.encode_head(head))

    def load(self, key: str) -> tables.Record | None:
        """Read the session as stored."""
        data = self._transaction.get(tables.SESSIONS, tables.session_key(key))
        if data is None:
            return None
        try:
            places = tables.decode_places(data)
        except WireError:
            return None
        return tables.Record(*places, self._decoded.state_of(key, data))

    def kept_until_ms(self, state: SessionState) -> int:
        """Return when the session may be removed here; a tombstone outlasts clocks that lag."""
        return expires_ms(state) + (self._clock_skew_ms_max if state.ended is not None else 0)

    def store(
        self,
        key: str,
        before: tables.Record | None,
        state: SessionState,
        new_feed_seq: int | None = None,
    ) -> SessionState:
        """Put the session in place of the record loaded before; return it as it stands now.

        It moves to a new place in our feed, or keeps the one it has. One whose user's sessions were
        revoked is stored as ended; a revocation begins to end those that are here. Raises
        SessionTooLarge.
        """
        tag = tag_of(state)
        if tag is not None:
            state = judged(key, state, self._revocation(tag))
        feed_seq = new_feed_seq or (0 if before is None else before.feed_seq)
        index_ms = tables.expiry_index_ms(self.kept_until_ms(state))
        version_hash = entry_hash(key, state.versions)
        # Encoding comes first: it is the only step that may refuse, and nothing is touched by then.
        data = tables.encode_record(feed_seq, index_ms, version_hash, state)
        self._move(key, before, index_ms, version_hash, new_feed_seq)
        self._tombstones += state.ended is not None
        self._transaction.put(tables.SESSIONS, tables.session_key(key), data)
        # Should the transaction fail, these bytes are never met, and neither is the state.
        self._decoded.note(key, data, state)
        state_before = None if before is None else before.state
        self._index(key, state_before, state)
        self._index_attributes(key, state_before, state)
        if self.stored is not None:
            self.stored.append((key, state_before, state))
        revoked = tag_of_revocation(key) if key[0] == RESERVED_PREFIX else None
        if revoked is not None:
            self._revoking[revoked] = ""
            self._end_part(revoked)
        return state

    def _move(
        self,
        key: str,
        before: tables.Record | None,
        index_ms: int,
        version_hash: int,
        new_feed_seq: int | None,
    ) -> None:
        """Move the session in the digests, in the expiry index and, to a new place, in the feed."""
        transaction = self._transaction
        if before is None:
            self._mix_digest(key, version_hash)
            transaction.put(tables.EXPIRY, tables.expiry_key(index_ms, key), b"")
        else:
            self._mix_digest(key, before.entry_hash ^ version_hash)
            if before.expiry_ms != index_ms:
                transaction.delete(tables.EXPIRY, tables.expiry_key(before.expiry_ms, key))
                transaction.put(tables.EXPIRY, tables.expiry_key(index_ms, key), b"")
            self._tombstones -= before.ended
        if new_feed_seq is not None:
            if before is not None:
                self._leave_feed(key, before.feed_seq)
            transaction.put(tables.FEED, tables.feed_key(new_feed_seq), key.encode())

    def commit(self, change: Change, wall_ms: int) -> SessionState | None:
        """Apply one local change under the next place in our feed; None when it has no effect."""
        record = self.load(change.key)
        if record is None and change.held is not None:
            record = self._take_back(change.key, change.held, wall_ms)
        current = self.current(change.key, record)
        if current is not None and change.creation is None and expires_ms(current) < wall_ms:
            return None
        if current is None and change.creation is not None and not self._admits(change, wall_ms):
            return None
        seq = self.seq + 1
        time = next_time(self.highest, wall_ms)
        state = apply_change(current, change, time=time, node=self.node, seq=seq)
        if state is None:
            return None
        stored = self.store(change.key, record, state, new_feed_seq=seq)
        self.seq, self.highest = seq, time
        return state if stored is state else None

    def _take_back(self, key: str, held: SessionState, wall_ms: int) -> tables.Record | None:
        """Store a session again that has left for a store, which is no news to anybody."""
        if held.ended is not None or expires_ms(held) < wall_ms:
            return None
        stored, self.stored = self.stored, None
        self.store(key, None, held)
        self.stored = stored
        return self.load(key)

    def _admits(self, change: Change, wall_ms: int) -> bool:
        """Tell whether one more session may begin now, and count it."""
        per_second_max = 0 if change.creation is None else change.creation.per_second_max
        if not per_second_max:
            return True
        kept = tables.decode_allowance(
            self._transaction.get(tables.NOTES, tables.ALLOWANCE_KEY)
        )
        left = after_one_more(kept, per_second_max, wall_ms)
        if left is None:
            return False
        self._transaction.put(
            tables.NOTES, tables.ALLOWANCE_KEY, tables.encode_allowance(left)
        )
        return True

    def adopt(self, delta: Delta, wall_ms: int, missing: list[str]) -> bool:
        """Join what a peer has; True when it changed our copy.

        A part of a session of which we hold nothing is none; such a session is named in
        ``missing``.
        """
        record = self.load(delta.key)
        current = None if record is None else record.state
        if self._revoking:
            current = self.current(delta.key, record)
        if current is None and self.kept_until_ms(delta.state) < wall_ms:
            return False
        joined = apply_delta(current, delta)
        if joined is None:
            missing.append(delta.key)
            return False
        # Most have new versions, which is told faster than that nothing is new.
        if current is not None and joined.versions == current.versions and joined == current:
            return False
        try:
            self.store(delta.key, record, joined)
        except SessionTooLarge:
            # Only a join of two huge copies gets here; refusing the peer's whole batch for it would
            # stop replication from that peer for good.
            return False
        self.raise_highest(highest_time(delta.state))
        return True

    def remove(self, key: str) -> tables.Record | None:
        """Take the session out of every table; return what it was."""
        record = self.load(key)
        if record is None:
            return None
        self._leave_feed(key, record.feed_seq)
        self._mix_digest(key, record.entry_hash)
        self._tombstones -= record.ended
        self._transaction.delete(tables.EXPIRY, tables.expiry_key(record.expiry_ms, key))
        self._transaction.delete(tables.SESSIONS, tables.session_key(key))
        if record.state is not None:
            self._index(key, record.state, None)
            self._index_attributes(key, record.state, None)
        return record

    def reclaim(self, key: str, wall_ms: int, *, spread: bool) -> SessionState | None:
        """Put deletions in the place of attributes that have expired; None: there are none.

        ``spread``: of our own ones they are a write of ours, in our feed. See ``core.reclaiming``.
        """
        record = self.load(key)
        current = self.current(key, record)
        if current is None or current.ended is not None or key[0] == RESERVED_PREFIX:
            return None
        seq = self.seq + 1
        state = without_expired(current, wall_ms, node=self.node if spread else b"", seq=seq)
        if state is current:
            return None
        moves = state.versions is not current.versions
        state = self.store(key, record, state, new_feed_seq=seq if moves else None)
        if moves:
            self.seq = seq
        return state

    def index_anew(self, key: str) -> None:
        """Index a session that an older version wrote, and judge it by what it did not know."""
        record = self.load(key)
        if record is None or record.state is None:
            return
        self._index(key, None, record.state)
        tag = tag_of(record.state)
        if tag is not None and self._revocation(tag) is not None:
            self.store(key, record, record.state)

    def current(self, key: str, record: tables.Record | None) -> SessionState | None:
        """Return what is stored, or what it will be when its turn to be ended has come."""
        state = None if record is None else record.state
        if state is not None and self._revoking and (tag := tag_of(state)) in self._revoking:
            assert tag is not None
            return judged(key, state, self._revocation(tag))
        return state

    def _revocation(self, tag: bytes) -> Register | None:
        record = self.load(revocation_key(tag))
        return None if record is None else revocation_in(record.state)

    def end_revoked(self) -> bool:
        """End the next part of the sessions of a revoked user; False when there are none left."""
        for tag in self._revoking:
            self._end_part(tag)
            return True
        return False

    def _end_part(self, tag: bytes) -> None:
        """End some sessions of a user, as far as the revocation speaks of them."""
        revoking = self._revoking
        keys = keys_of(self._transaction, tag, revoking.pop(tag), self._ends_at_once)
        for key in keys:
            record = self.load(key)
            if record is not None and record.state is not None and tag_of(record.state) == tag:
                self.store(key, record, record.state)
        if len(keys) == self._ends_at_once:
            revoking[tag] = keys[-1]
        if revoking:
            row = tables.encode_revoking(revoking)
            self._transaction.put(tables.META, tables.REVOKING_KEY, row)
        else:
            self._transaction.delete(tables.META, tables.REVOKING_KEY)

    def _index(self, key: str, before: SessionState | None, after: SessionState | None) -> None:
        old = None if before is None else before.registers.get(PRINCIPAL)
        new = None if after is None else after.registers.get(PRINCIPAL)
        if old is new or (old is not None and new is not None and old.value == new.value):
            return
        if before is not None and (tag := tag_of(before)) is not None:
            self._transaction.delete(tables.PRINCIPALS, tables.principal_key(tag, key))
        if after is not None and (tag := tag_of(after)) is not None:
            self._transaction.put(tables.PRINCIPALS, tables.principal_key(tag, key), b"")

    def _index_attributes(
        self, key: str, before: SessionState | None, after: SessionState | None
    ) -> None:
        """Keep when the next attribute expires; not of records, whose values are anything."""
        old_ms = NEVER_MS if before is None else next_expiry_ms(before)
        new_ms = NEVER_MS if after is None else next_expiry_ms(after)
        if (old_ms == NEVER_MS and new_ms == NEVER_MS) or key[0] == RESERVED_PREFIX:
            return
        old, new = (tables.expiry_index_ms(min(ms, LAST_MS)) for ms in (old_ms, new_ms))
        if old_ms != NEVER_MS and old != new:
            self._transaction.delete(tables.EXPIRY, tables.attribute_expiry_key(old, key))
        if new_ms != NEVER_MS:
            # Again where it is there already: an older version may have stored the session.
            self._transaction.put(tables.EXPIRY, tables.attribute_expiry_key(new, key), b"")

    def _leave_feed(self, key: str, feed_seq: int) -> None:
        # The place may be of a feed before ``renew_identity``, and belong to another session now.
        if not feed_seq:
            return
        place = tables.feed_key(feed_seq)
        entry = self._transaction.pop(tables.FEED, place)
        if entry is not None and entry != key.encode():
            self._transaction.put(tables.FEED, place, entry)

    def _mix_digest(self, key: str, change: int) -> None:
        row = tables.digest_key_of(key)
        self._digests[row] = self._digests.get(row, 0) ^ change
