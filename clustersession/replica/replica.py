"""Is a node's copy of every session, written once over any storage engine.

Every public method is one transaction, unless it says otherwise. What comes from peers is stored in
turns, see ``replica.turns``, each a transaction. A commit moves session, change
feed, expiry index, digests, sequence number and highest stamp together or not at all; any number of
processes of one host may commit at the same time. Times are wall-clock milliseconds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from clustersession.core.clock import too_far_ahead, wall_ms_of
from clustersession.core.contact import CONTACT_NOTE
from clustersession.core.digest import BUCKETS
from clustersession.core.errors import ReplicaFull, WireError
from clustersession.core.feed import Batch, Cursor, advance, follows, is_news
from clustersession.core.revocation import (
    RESERVED_PREFIX,
    judged,
    revocation_in,
    revocation_key,
)
from clustersession.core.state import (
    Change,
    Delta,
    SessionState,
    expires_ms,
    highest_time,
    moved,
)
from clustersession.replica import lineage, tables
from clustersession.replica.decoded import DecodedRecords
from clustersession.replica.direct_change import known_place, take_change
from clustersession.replica.engines.contract import (
    ReadTransaction,
    StartAnew,
    StorageEngine,
    WriteTransaction,
)
from clustersession.replica.plain_change import PlainChange, prepare
from clustersession.replica.principals import is_indexed, is_users, sessions_of, tag_of
from clustersession.replica.reading import (
    cursor_of,
    cursors_of,
    delta_of,
    head_from,
    head_of,
    size_about,
)
from clustersession.replica.record_writer import RecordWriter
from clustersession.replica.reserve import ends_among, share_left_by
from clustersession.replica.results import (
    Applied,
    Committed,
    Listed,
    Observer,
    ReplicaStats,
    SnapshotPage,
    Stored,
)
from clustersession.replica.turns import CountedTurn, Turn

_INDEXED_AT_ONCE = 500
ENDS_AT_ONCE = 100
"""At 30 to 40 µs each, so that other writers of the host wait for some 4 ms at most."""
_CONTACT = CONTACT_NOTE.encode()


class Replica:
    """Keeps a node's copy of every session.

    ``new_node`` draws the node id when the engine is found empty. Raises WireError when what the
    engine holds cannot be read as a replica.

    _engine: holds the tables; all state that outlives this object is there.
    _clock_skew_ms_max: bounds how far a stamp may lie in our future, and how much longer than its
        deadline a tombstone is kept: another node's clock may be that far behind, and still hold
        the session it ends. Never changes.
    _ends_at_once: how many sessions of a revoked user one transaction ends, see ``end_revoked``.
    _turn, _stand_back: bound a transaction, and let others write between two.
    _decoded: a cache. An entry is used only for the very bytes that it was made from or into.
    _observer: is told of what peers bring; None while nobody listens. Only this object's own
        ``apply`` and ``merge`` are reported, not those of other processes.
    _clock_checked: see ``check_clock``; None where nobody checks.
    _node: the node id as it was met last, by which changes are prepared; another process may have
        taken a new one since.
    """

    def __init__(
        self,
        engine: StorageEngine,
        new_node: Callable[[], bytes],
        *,
        clock_skew_ms_max: int,
        ends_at_once: int = ENDS_AT_ONCE,
        turn: Callable[[], Turn] = CountedTurn,
        stand_back: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._turn, self._stand_back = turn, stand_back
        self._ends_at_once = ends_at_once
        self._clock_skew_ms_max = clock_skew_ms_max
        self._decoded = DecodedRecords()
        self._observer: Observer | None = None
        self._clock_checked: Callable[[int], int] | None = None
        with engine.write() as transaction:
            stored = transaction.get(tables.META, tables.HEAD_KEY)
            if stored is None:
                if transaction.count(tables.SESSIONS):
                    raise WireError("the replica has sessions and no head")
                head = tables.Head(new_node(), 0, 0, 0)
                transaction.put(tables.META, tables.HEAD_KEY, tables.encode_head(head))
            else:
                head = tables.decode_head(stored)
            self._node = head.node
            indexed = transaction.get(tables.PRINCIPALS, tables.INDEXED_KEY) is not None
        if not indexed:
            self.index_principals()

    @property
    def node(self) -> bytes:
        """Return the node id: 8 random bytes drawn when the replica was made empty."""
        return self._head().node

    def get(self, key: str) -> SessionState | None:
        """Return the copy as it stands: it may be ended or past its expiry."""
        data, revoking = self._engine.get_two(
            tables.SESSIONS, tables.session_key(key), tables.META, tables.REVOKING_KEY
        )
        if data is None:
            return None
        state = self._decoded.state_of(key, data)
        if revoking is None or state is None:
            return state
        return self._judged(key, state, revoking)

    def _judged(self, key: str, state: SessionState, revoking: bytes) -> SessionState:
        """Return the session as it will stand when all of the user's have been ended."""
        tag = tag_of(state)
        if tag is None or tag not in tables.decode_revoking(revoking):
            return state
        record_key = revocation_key(tag)
        data = self._engine.get(tables.SESSIONS, tables.session_key(record_key))
        record = None if data is None else self._decoded.state_of(record_key, data)
        return judged(key, state, revocation_in(record))

    def commit(self, changes: Sequence[Change], wall_ms: int) -> Committed:
        """Apply local changes; each effective one takes a sequence number.

        Changes with no effect (see ``apply_change``; also to a session expired at ``wall_ms``)
        leave nothing behind; nor does a session that is one too many, see ``Creation``. Raises
        ReplicaFull when there is no space, and SessionTooLarge for more attributes or a longer name
        than a record can hold; then nothing has changed.
        """
        plain = prepare(changes, self._decoded, self._node)
        if plain is not None:
            return self._commit_plain(plain, changes, wall_ms)
        leaving = share_left_by(changes)
        with suppress(StartAnew), self._engine.write(leaving=leaving) as transaction:
            return self._commit(transaction, changes, wall_ms)
        with self._engine.write(leaving=leaving) as transaction:
            return self._commit(transaction, changes, wall_ms)

    def _commit_plain(
        self, plain: PlainChange, changes: Sequence[Change], wall_ms: int
    ) -> Committed:
        with self._engine.write(leaving=1.0) as transaction:
            committed = plain.commit(transaction, wall_ms, self._clock_skew_ms_max)
            if committed is None:
                return self._commit(transaction, changes, wall_ms)
        # Only now, when these bytes are there to be met.
        plain.remember(self._decoded)
        return committed

    def _commit(
        self, transaction: WriteTransaction, changes: Sequence[Change], wall_ms: int
    ) -> Committed:
        states: list[SessionState | None] = []
        stored: list[Stored] = []
        writer = self._writer(transaction)
        self._node = writer.node
        writer.stored = stored
        if abs(wall_ms - wall_ms_of(writer.highest)) > self._clock_skew_ms_max:
            real_ms = self._checked(transaction, wall_ms)
            if real_ms != wall_ms:
                changes = [moved(change, real_ms - wall_ms) for change in changes]
                wall_ms = real_ms
        for change in changes:
            states.append(writer.commit(change, wall_ms))
        writer.finish()
        return Committed(writer.seq, states, stored)

    def apply(self, batch: Batch, wall_ms: int, *, whole: bool = False) -> Applied:
        """Apply a peer's batch and move our cursor on its feed.

        A batch that does not follow the cursor, or one with a stamp too far in the future, changes
        nothing. ``whole``: the cursor stays where it is when a session is missing here that the
        batch changes; what it brings of others is here all the same, and may come again. Sessions
        that are expired here and not held are passed over. Raises ReplicaFull; the ends in the
        batch are then taken all the same, each in a transaction of its own, if they fit.
        """
        try:
            return self._apply(batch, wall_ms, whole=whole)
        except ReplicaFull:
            self._take_ends(
                [d for d in batch.deltas if not self._from_the_future(d.state, wall_ms)], wall_ms
            )
            raise

    def take(self, batch: Batch, wall_ms: int) -> bool:
        """Take changes ahead of their node's stream; True: all are here, and our cursor unmoved.

        False: one cannot stand on what is here, see ``core.direct_change``. Raises ReplicaFull.
        """
        if any(self._from_the_future(delta.state, wall_ms) for delta in batch.deltas):
            return False
        with self._engine.write(leaving=1.0) as transaction:
            writer = self._writer(transaction)
            writer.stored = [] if self._observer is not None else None
            taken = [take_change(transaction, writer, batch, d, wall_ms) for d in batch.deltas]
            writer.finish()
        self._report(writer)
        return bool(taken) and all(taken)

    def known(self, node: bytes) -> int:
        """Return the highest place in a node's feed of which ``take`` has taken a change."""
        with self._engine.read() as transaction:
            return known_place(transaction, node)

    def check_clock(self, checked: Callable[[int], int]) -> None:
        """Have the times of commits checked, where a replica with peers finds one far from its own.

        ``checked`` returns a time that may be kept: the one it is given, or a better one.
        """
        self._clock_checked = checked

    def _checked(self, transaction: ReadTransaction, wall_ms: int) -> int:
        if self._clock_checked is None or transaction.get(tables.NOTES, _CONTACT) is None:
            return wall_ms
        return self._clock_checked(wall_ms)

    def _apply(self, batch: Batch, wall_ms: int, *, whole: bool) -> Applied:
        done, changed = 0, 0
        missing: list[str] = []
        while True:
            with self._engine.write(leaving=1.0) as transaction:
                cursor = cursor_of(transaction, batch.sender)
                writer = self._writer(transaction)
                if not done:
                    refusal = self._refusal(writer, batch, cursor, wall_ms)
                    if refusal is not None:
                        return refusal
                done, gained = self._take_turn(writer, batch.deltas, done, wall_ms, missing)
                changed += gained
                # The cursor goes with the last turn: until then all of the batch may come again.
                if done == len(batch.deltas) and not (whole and missing):
                    cursor = advance(cursor, batch)
                    transaction.put(tables.CURSORS, batch.sender, tables.encode_cursor(cursor))
                writer.finish()
            self._report(writer)
            if done == len(batch.deltas):
                return Applied(cursor, changed, missing)
            self._stand_back()

    def _refusal(
        self, writer: RecordWriter, batch: Batch, cursor: Cursor, wall_ms: int
    ) -> Applied | None:
        """Return the answer to a batch that changes nothing; None when it is to be applied."""
        if batch.sender == writer.node:
            return Applied(Cursor(writer.seq, writer.seq), 0, ())
        if not follows(batch, cursor) or not is_news(batch, cursor):
            return Applied(cursor, 0, ())
        for delta in batch.deltas:
            if self._from_the_future(delta.state, wall_ms):
                return Applied(cursor, 0, (), refused_future=True)
        return None

    def _take_turn(
        self,
        writer: RecordWriter,
        deltas: Sequence[Delta],
        start: int,
        wall_ms: int,
        missing: list[str],
    ) -> tuple[int, int]:
        """Join what peers have from a place on; return up to where, and how many changed us."""
        writer.stored = [] if self._observer is not None else None
        turn, changed, done = self._turn(), 0, start
        for done in range(start + 1, len(deltas) + 1):
            if writer.adopt(deltas[done - 1], wall_ms, missing):
                changed += 1
            if turn.is_over():
                break
        return done, changed

    def merge(self, sessions: Iterable[tuple[str, SessionState]], wall_ms: int) -> int:
        """Join whole copies from a snapshot, a fetch or anti-entropy; return how many changed us.

        One that we do not hold and that is expired, and any with a stamp too far in the future, is
        passed over. Raises ReplicaFull when it is full before the end; ends are then taken all the
        same, each in a transaction of its own, if they fit.
        """
        return self.restore(
            [(key, state) for key, state in sessions if not self._from_the_future(state, wall_ms)],
            wall_ms,
        )

    def restore(self, sessions: Iterable[tuple[str, SessionState]], wall_ms: int) -> int:
        """Join whole copies that were here before, as ``merge`` does, whatever their stamps.

        They were judged when they came. The clock may have come back wrong since.
        """
        deltas = [Delta(key, state, full=True) for key, state in sessions]
        try:
            return self._adopt(deltas, wall_ms, leaving=1.0)
        except ReplicaFull:
            self._take_ends(deltas, wall_ms)
            raise

    def _adopt(self, deltas: Sequence[Delta], wall_ms: int, *, leaving: float) -> int:
        done, changed = 0, 0
        while done < len(deltas):
            if done:
                self._stand_back()
            with self._engine.write(leaving=leaving) as transaction:
                writer = self._writer(transaction)
                done, gained = self._take_turn(writer, deltas, done, wall_ms, [])
                changed += gained
                writer.finish()
            self._report(writer)
        return changed

    def _take_ends(self, deltas: Iterable[Delta], wall_ms: int) -> None:
        """Join the ends among what there is no space for: a logout elsewhere counts here too.

        Of a session that has ended nothing else remains, so an end may come before what preceded.
        One at a time: together they need more space at once.
        """
        with suppress(ReplicaFull):
            for delta in ends_among(deltas):
                held = self.get(delta.key)
                news = delta.key[0] == RESERVED_PREFIX if held is None else held.ended is None
                if news:
                    self._adopt([delta], wall_ms, leaving=0.0)

    def feed(
        self, floor: int, after: int, bytes_max: int, deltas_max: int | None = None
    ) -> Batch:
        """Read our own feed after a place, with everything we wrote above ``floor``.

        At least one session when there is one, at most about ``bytes_max`` and ``deltas_max``
        sessions (None: any number); ``complete`` when it reached the head.
        """
        deltas: list[Delta] = []
        bytes_left = bytes_max
        with self._engine.read() as transaction:
            head = head_of(transaction)
            upto = after
            for feed_key, entry in transaction.scan(tables.FEED, tables.feed_key(after + 1)):
                session_key = tables.session_of_feed(entry)
                delta = delta_of(transaction, self._decoded, session_key, head.node, floor)
                if delta is not None:
                    bytes_left -= size_about(delta)
                    if deltas and (bytes_left < 0 or len(deltas) == deltas_max):
                        return Batch(head.node, floor, after, upto, head.seq, deltas)
                    deltas.append(delta)
                upto = tables.seq_of_feed(feed_key)
        # A cursor beyond our head belongs to a past that we have lost; it must not be moved back.
        upto = max(head.seq, after)
        return Batch(head.node, floor, after, upto, upto, deltas)

    def head(self) -> int:
        """Return the highest sequence number issued."""
        return self._head().seq

    def highest_ms(self) -> int:
        """Return the latest wall-clock milliseconds that a stamp here was issued or seen at."""
        return wall_ms_of(self._head().highest)

    def cursors(self) -> dict[bytes, Cursor]:
        """Return how far we have applied each other node's feed."""
        with self._engine.read() as transaction:
            return cursors_of(transaction)

    def inherit(self, cursors: Mapping[bytes, Cursor]) -> None:
        """Raise our cursors to the floors of a snapshot donor's; a cursor never goes back.

        What it has scanned beyond is sent again: who knows when that was read.
        """
        with self._engine.write() as transaction:
            own = head_of(transaction).node
            for node, theirs in cursors.items():
                ours = cursor_of(transaction, node)
                if node != own and theirs.floor > ours.floor:
                    raised = ours._replace(floor=theirs.floor)
                    if theirs.floor >= ours.position:
                        raised = Cursor(theirs.floor, theirs.floor)
                    transaction.put(tables.CURSORS, node, tables.encode_cursor(raised))

    def snapshot(self, after_key: str, bytes_max: int) -> SnapshotPage:
        """Read the next page of whole sessions after a key, ended ones included.

        At least one when there is one. The cursors include our own head as the cursor on our own
        feed.
        """
        sessions: list[tuple[str, SessionState]] = []
        next_key = after_key
        bytes_left = bytes_max
        done = True
        with self._engine.read() as transaction:
            head = head_of(transaction)
            cursors = {**cursors_of(transaction), head.node: Cursor(head.seq, head.seq)}
            for session_key, data in transaction.scan(
                tables.SESSIONS, tables.start_after(after_key)
            ):
                bytes_left -= len(data)
                if bytes_left < 0 and sessions:
                    done = False
                    break
                next_key = tables.key_of_session(session_key)
                state = tables.copy_of_record(data)
                if state is not None:
                    sessions.append((next_key, state))
        return SnapshotPage(sessions, next_key, done, cursors)

    def digests(self) -> bytes:
        """Return one 8-byte big-endian digest per bucket, see ``core.digest``."""
        rows = [tables.encode_digest(0)] * BUCKETS
        with self._engine.read() as transaction:
            for digest_key, digest in transaction.scan(tables.DIGESTS, b""):
                rows[tables.bucket_of_digest(digest_key)] = digest
        return b"".join(rows)

    def listing(
        self, buckets: Iterable[int], limit: int, after_key: str = ""
    ) -> list[Listed]:
        """List key, versions and expiry of the sessions in some buckets, at most ``limit``.

        ``after_key``: only what follows it in the order of a snapshot.
        """
        listed: list[Listed] = []
        with self._engine.read() as transaction:
            for bucket in sorted({b for b in buckets if 0 <= b < BUCKETS}):
                start = tables.start_of_bucket(bucket)
                place = max(start, tables.start_after(after_key))
                for session_key, data in transaction.scan(tables.SESSIONS, place):
                    if not session_key.startswith(start):
                        break
                    if len(listed) >= limit:
                        return listed
                    state = tables.state_of_record(data)
                    if state is not None:
                        key = tables.key_of_session(session_key)
                        listed.append(Listed(key, state.versions, expires_ms(state)))
        return listed

    def sweep(
        self, wall_ms: int, limit: int, removed: list[tuple[str, SessionState]] | None = None
    ) -> int:
        """Remove at most ``limit`` sessions expired at ``wall_ms``; return how many went.

        Those that had not ended are appended to ``removed``.
        """
        with self._engine.write() as transaction:
            due = _due(transaction, b"", tables.split_expiry, wall_ms, limit)
            if not due:
                return 0
            writer = self._writer(transaction)
            for expiry_key in due:
                key = tables.split_expiry(expiry_key)[1]
                record = writer.remove(key)
                state = None if record is None else record.state
                if removed is not None and state is not None and is_users(key, state):
                    removed.append((key, state))
                # Again, for an entry whose session was lost: it must not be found for ever.
                transaction.delete(tables.EXPIRY, expiry_key)
            writer.finish()
            return len(due)

    def reclaim(self, key: str, wall_ms: int, *, spread: bool) -> Committed:
        """Delete the attributes of a session that have expired at ``wall_ms``.

        ``spread``: see ``RecordWriter.reclaim``. Whoever has seen that one is gone calls this, so
        that it stays so, whatever the clock says next. Raises ReplicaFull.
        """
        stored: list[Stored] = []
        with self._engine.write() as transaction:
            writer = self._writer(transaction)
            writer.stored = stored
            if abs(wall_ms - wall_ms_of(writer.highest)) > self._clock_skew_ms_max:
                wall_ms = self._checked(transaction, wall_ms)
            state = writer.reclaim(key, wall_ms, spread=spread)
            writer.finish()
        return Committed(writer.seq, [state], stored)

    def reclaim_due(self, wall_ms: int, limit: int, *, spread: bool) -> Committed:
        """Do what ``reclaim`` does, for at most ``limit`` sessions of which an attribute expired.

        There is a state for each that was looked at.
        """
        stored: list[Stored] = []
        states: list[SessionState | None] = []
        with self._engine.write() as transaction:
            due = _due(
                transaction, tables.ATTRIBUTES, tables.split_attribute_expiry, wall_ms, limit
            )
            writer = self._writer(transaction)
            writer.stored = stored
            for entry in due:
                key = tables.split_attribute_expiry(entry)[1]
                states.append(writer.reclaim(key, wall_ms, spread=spread))
                # Again, for an entry of something else than what is there now.
                transaction.delete(tables.EXPIRY, entry)
            writer.finish()
        return Committed(writer.seq, states, stored)

    def evict(self, copies: Iterable[tuple[str, SessionState]]) -> int:
        """Let go of sessions that a store holds, as far as they are still what is given.

        No tombstone stays, and nothing is reported: they have not ended. Returns how many went.
        """
        gone = 0
        with self._engine.write() as transaction:
            writer = self._writer(transaction)
            for key, state in copies:
                record = writer.load(key)
                if record is not None and record.state == state:
                    writer.remove(key)
                    gone += 1
            writer.finish()
        return gone

    def end_revoked(self) -> Sequence[Stored] | None:
        """Store as ended some more sessions of a user whose revocation is here already.

        Returns those that were written, None when none are left. A revocation ends the first ones
        in its own transaction; for the others, which nobody is served any more, a host with very
        many would have to wait. Raises ReplicaFull.
        """
        if self._engine.get(tables.META, tables.REVOKING_KEY) is None:
            return None
        with self._engine.write() as transaction:
            writer = self._writer(transaction)
            writer.stored = []
            if not writer.end_revoked():
                return None
            writer.finish()
        self._report(writer)
        return writer.stored

    def moved(self, after: int, limit: int) -> list[str]:
        """Return the sessions in our own feed after a place, at most ``limit``."""
        found: list[str] = []
        with self._engine.read() as transaction:
            for _, entry in transaction.scan(tables.FEED, tables.feed_key(after + 1)):
                if len(found) >= limit:
                    break
                found.append(tables.session_of_feed(entry))
        return found

    def observe(self, observer: Observer | None) -> None:
        """Have every change that comes from peers reported, after its transaction."""
        self._observer = observer

    def _report(self, writer: RecordWriter) -> None:
        if self._observer is not None and writer.stored:
            self._observer(writer.stored)

    def keys(self, after_key: str, limit: int) -> list[str]:
        """Return session keys after a key, in the order of a snapshot; for the command line."""
        found: list[str] = []
        with self._engine.read() as transaction:
            for session_key, _ in transaction.scan(tables.SESSIONS, tables.start_after(after_key)):
                if len(found) >= limit:
                    break
                found.append(tables.key_of_session(session_key))
        return found

    def sessions_of(self, principal: str) -> list[tuple[str, SessionState]]:
        """Return the sessions of a user that have not ended; they may be past their expiry."""
        with self._engine.read() as transaction:
            return sessions_of(transaction, principal)

    def index_principals(self) -> None:
        """Complete the index behind ``sessions_of`` by what an older version wrote.

        In many transactions, so that others can write meanwhile.
        """
        after = ""
        while keys := self.keys(after, _INDEXED_AT_ONCE):
            after = keys[-1]
            with self._engine.read() as transaction:
                missing = [key for key in keys if not is_indexed(transaction, key)]
            if not missing:
                continue
            with self._engine.write() as transaction:
                writer = self._writer(transaction)
                for key in missing:
                    writer.index_anew(key)
                writer.finish()
        with self._engine.write() as transaction:
            transaction.put(tables.PRINCIPALS, tables.INDEXED_KEY, b"1")

    def load_note(self, name: str) -> bytes | None:
        """Return a small named value kept beside the sessions, such as the serving view."""
        return self._engine.get(tables.NOTES, name.encode())

    def save_note(self, name: str, value: bytes) -> None:
        """Keep a small named value."""
        with self._engine.write() as transaction:
            transaction.put(tables.NOTES, name.encode(), value)

    def note_opening(self) -> None:
        """Keep where our feed stands, for the agent to come.

        To be called when no other process has the replica open, before anything is written.
        """
        with self._engine.write() as transaction:
            lineage.note_opening(transaction)

    def opening(self) -> int:
        """Return where our feed stood at the last opening; the head once that is forgotten."""
        with self._engine.read() as transaction:
            return lineage.opening(transaction)

    def forget_opening(self) -> None:
        """Forget where our feed stood, because peers have been told of what was written since."""
        with self._engine.write() as transaction:
            lineage.forget_opening(transaction)

    def renew_identity(self, node: bytes, floor: int, date_again_ms: int | None = None) -> None:
        """Take a new node id because peers have seen a future of ours that we do not remember.

        Or because the times of what is here lie far in everybody's future: then ``date_again_ms``
        is the present, by which they are written again.

        Sessions and cursors stay. The feed begins again with what was written beyond ``floor``,
        which becomes the new id's: its places may have been given out before, to other writes.
        Anti-entropy spreads what else the peers may not have.
        """
        with self._engine.write() as transaction:
            late = lineage.begin_feed(transaction, node, floor)
            writer = self._writer(transaction)
            lineage.reissue_late(writer, late)
            if date_again_ms is not None:
                lineage.date_again(transaction, writer, date_again_ms, self._clock_skew_ms_max)
            writer.finish()

    def stats(self) -> ReplicaStats:
        """Count what the status command shows."""
        with self._engine.read() as transaction:
            head = head_of(transaction)
            held = transaction.count(tables.SESSIONS)
            feed_entries = transaction.count(tables.FEED)
        return ReplicaStats(
            held - head.tombstones, head.tombstones, feed_entries, head.seq,
            self._engine.bytes_used(), self._engine.bytes_max(),
        )

    def close(self) -> None:
        """Release the files; safe to call twice."""
        self._engine.close()

    def _writer(self, transaction: WriteTransaction) -> RecordWriter:
        return RecordWriter(
            transaction, self._decoded, self._clock_skew_ms_max, self._ends_at_once
        )

    def _head(self) -> tables.Head:
        return head_from(self._engine.get(tables.META, tables.HEAD_KEY))

    def _from_the_future(self, state: SessionState, wall_ms: int) -> bool:
        return too_far_ahead(highest_time(state), wall_ms, self._clock_skew_ms_max)


def _due(
    transaction: ReadTransaction, start: bytes, split: Callable[[bytes], tuple[int, str]],
    wall_ms: int, limit: int,
) -> list[bytes]:
    """Return the first entries of the expiry index from ``start`` on whose time is over."""
    due: list[bytes] = []
    for entry, _ in transaction.scan(tables.EXPIRY, start):
        if len(due) >= limit or split(entry)[0] >= wall_ms:
            break
        due.append(entry)
    return due
