"""Commits the change that most requests make, prepared before other writers have to wait.

A plain change sets a few attributes of a session that is here, may delete some, and does nothing
else. What follows from the copy that this process has met last is worked out outside the
transaction; inside, that copy is compared with what is stored, and the change gets its place in the
feed and its time. Whatever is not as it was expected is left to ``replica.record_writer``, within
the same transaction. Both leave the same bytes in every table.
"""

from collections.abc import Sequence
from typing import Any

from clustersession.core.clock import next_time, wall_ms_of
from clustersession.core.digest import entry_hash
from clustersession.core.errors import SessionTooLarge
from clustersession.core.expiring_values import until_of
from clustersession.core.reclaiming import NEVER_MS, next_expiry_ms, note_that_none_expires
from clustersession.core.revocation import RESERVED_PREFIX, revocation_key
from clustersession.core.state import (
    IDLE_TIMEOUT,
    PRINCIPAL,
    Change,
    Register,
    SessionState,
    expires_ms,
    new_state,
)
from clustersession.replica import tables
from clustersession.replica.decoded import DecodedRecords
from clustersession.replica.engines.contract import WriteTransaction
from clustersession.replica.principals import tag_of
from clustersession.replica.reading import head_from
from clustersession.replica.results import Committed
from clustersession.wire.records import StateDraft

NAMES_MAX = 16
"""So many attributes are a few: each is looked for among all."""

_TELLING = frozenset({PRINCIPAL, IDLE_TIMEOUT})
"""Registers from which more follows than their value."""

# Half the price of Register(...).
_new_tuple = tuple.__new__


def prepare(
    changes: Sequence[Change], decoded: DecodedRecords, node: bytes
) -> "PlainChange | None":
    """Prepare a commit, as far as it is one plain change and its session is known."""
    if len(changes) != 1:
        return None
    change = changes[0]
    sets, deletes = change.sets, change.deletes
    if not sets or change.creation is not None or change.end is not None:
        return None
    if change.elements is not None or change.condition is not None:
        return None
    if len(sets) + len(deletes) > NAMES_MAX or change.key[0] == RESERVED_PREFIX:
        return None
    if not (_TELLING.isdisjoint(sets) and _TELLING.isdisjoint(deletes)):
        return None
    held = decoded.newest(change.key)
    if held is None or held[1].ended is not None or next_expiry_ms(held[1]) != NEVER_MS:
        return None
    for value in sets.values():
        if until_of(value) is not None:
            return None
    try:
        return PlainChange(change, *held, node)
    except SessionTooLarge:
        # Whether it has an effect at all is said first.
        return None


class PlainChange:
    """Is one plain change, ready to be committed once.

    _data, _before: the record that it was prepared for, and its state. _until_ms: when that
        expires. _left: its places in the feed, in the expiry index and in the digests.
    _names: the attributes that it writes.
    _registers, _versions, _state: the session after it; complete when the commit has given it a
        place and a time.
    _draft: the same, encoded as far as that is possible without.
    _index_ms: where the session will stand in the expiry index.
    _row, _name: its row in the digests table, and its key as bytes.
    _places: all that is to be read: the head, the session, its digest, who is being revoked, and
        the revocation of its user if it has one.
    """

    __slots__ = (
        "_before", "_data", "_draft", "_index_ms", "_key", "_left", "_name", "_names", "_new_data",
        "_node", "_places", "_registers", "_row", "_state", "_until_ms", "_versions",
    )  # fmt: skip

    def __init__(
        self,
        change: Change,
        data: bytes,
        before: SessionState,
        plain: list[Any] | None,
        node: bytes,
    ) -> None:
        """Prepare it. Raises SessionTooLarge."""
        key = change.key
        registers, versions = dict(before.registers), dict(before.versions)
        versions[node] = 0
        names = [*change.sets]
        for name, value in change.sets.items():
            registers[name] = _new_tuple(Register, (0, node, 0, value))
        for name in change.deletes:
            if name in registers:
                registers[name] = _new_tuple(Register, (0, node, 0, None))
                names.append(name)
        accessed_ms = before.accessed_ms
        if change.accessed_ms > accessed_ms:
            accessed_ms = change.accessed_ms
        self._state = state = new_state(
            before.created_ms, accessed_ms, before.deadline_ms, registers, versions, None
        )
        note_that_none_expires(state)
        self._draft = StateDraft(state, node, names, plain)
        self._key, self._node, self._data, self._before = key, node, data, before
        self._registers, self._versions, self._names = registers, versions, names
        self._left, self._until_ms = tables.decode_places(data), expires_ms(before)
        self._index_ms = tables.expiry_index_ms(expires_ms(state))
        place = tables.session_key(key)
        self._row, self._name, self._new_data = tables.digest_key_of(key), key.encode(), b""
        self._places = [
            (tables.META, tables.HEAD_KEY), (tables.SESSIONS, place), (tables.DIGESTS, self._row),
            (tables.META, tables.REVOKING_KEY),
        ]
        if PRINCIPAL in registers and (tag := tag_of(state)) is not None:
            self._places.append((tables.SESSIONS, tables.session_key(revocation_key(tag))))

    def commit(
        self, transaction: WriteTransaction, wall_ms: int, clock_skew_ms_max: int
    ) -> Committed | None:
        """Commit; None, and nothing is written, when anything is not as it was expected."""
        head_row, data, digest_row, *revoked = transaction.get_all(self._places)
        node, seq, highest, tombstones = head_from(head_row)
        if data != self._data or node != self._node or self._until_ms < wall_ms:
            return None
        if revoked.count(None) != len(revoked):
            return None
        if abs(wall_ms - wall_ms_of(highest)) > clock_skew_ms_max:
            return None
        seq, time = seq + 1, next_time(highest, wall_ms)
        registers = self._registers
        for name in self._names:
            registers[name] = _new_tuple(Register, (time, node, seq, registers[name].value))
        self._versions[node] = seq
        version_hash = entry_hash(self._key, self._versions)
        self._new_data = new_data = tables.encode_places(
            seq, self._index_ms, version_hash, False
        ) + self._draft.completed(seq, time)
        digest = tables.decode_digest(digest_row) ^ self._left[2] ^ version_hash
        transaction.put_all([
            *self._moved(transaction),
            (tables.FEED, tables.feed_key(seq), self._name),
            (*self._places[1], new_data),
            (*self._places[2], tables.encode_digest(digest)),
            (*self._places[0], tables.encode_head((node, seq, time, tombstones))),
        ])
        state = self._state
        return _new_tuple(Committed, (seq, [state], [(self._key, self._before, state)]))

    def _moved(self, transaction: WriteTransaction) -> list[tuple[int, bytes, bytes]]:
        """Leave the places of the session before; return the rows that follow from that."""
        rows: list[tuple[int, bytes, bytes]] = []
        feed_seq, index_ms, _, _ = self._left
        if index_ms != self._index_ms:
            transaction.delete(tables.EXPIRY, tables.expiry_key(index_ms, self._key))
            rows.append((tables.EXPIRY, tables.expiry_key(self._index_ms, self._key), b""))
        if feed_seq:
            place = tables.feed_key(feed_seq)
            entry = transaction.pop(tables.FEED, place)
            # As in ``record_writer``: the place may belong to another session now.
            if entry is not None and entry != self._name:
                rows.append((tables.FEED, place, entry))
        return rows

    def remember(self, decoded: DecodedRecords) -> None:
        """Note the new record, after the transaction."""
        decoded.note(self._key, self._new_data, self._state, self._draft.plain)
