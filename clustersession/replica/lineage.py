"""Begins a feed anew, under a new node id, when it does not go on where it stopped.

A replica that came back older than it was would give places in its feed out twice. Where the feed
stood when the replica was opened tells which of its writes may stand at such places; they go on
under a new node id.
"""

from typing import NamedTuple

from clustersession.core.state import highest_time, reissue
from clustersession.replica import tables
from clustersession.replica.engines.contract import ReadTransaction, WriteTransaction
from clustersession.replica.reading import head_of
from clustersession.replica.record_writer import RecordWriter

_OPENING = b"opening"


class LateWrites(NamedTuple):
    """Names the sessions that ``node`` wrote beyond ``floor``."""

    keys: list[str]
    node: bytes
    floor: int


def note_opening(transaction: WriteTransaction) -> None:
    """Keep where our feed stands."""
    head = head_of(transaction)
    transaction.put(tables.NOTES, _OPENING, head.node + tables.feed_key(head.seq))


def forget_opening(transaction: WriteTransaction) -> None:
    """Forget it: peers have been told of what was written since."""
    transaction.delete(tables.NOTES, _OPENING)


def opening(transaction: ReadTransaction) -> int:
    """Return where our feed stood when that was kept; the present head once it is forgotten."""
    head = head_of(transaction)
    noted = transaction.get(tables.NOTES, _OPENING)
    if noted is None:
        return head.seq
    node, place = noted[: len(head.node)], noted[len(head.node) :]
    return min(tables.seq_of_feed(place), head.seq) if node == head.node else head.seq


def begin_feed(transaction: WriteTransaction, node: bytes, floor: int) -> LateWrites:
    """Begin an empty feed under a new node id; returns what the old one held beyond ``floor``.

    Sessions still remember places in the old feed; ``RecordWriter`` does not trust them.
    """
    head = head_of(transaction)
    late = [
        tables.session_of_feed(entry)
        for _, entry in transaction.scan(tables.FEED, tables.feed_key(floor + 1))
    ]
    transaction.clear(tables.FEED)
    begun = tables.encode_head(head._replace(node=node, seq=0))
    transaction.put(tables.META, tables.HEAD_KEY, begun)
    return LateWrites(late, head.node, floor)


def reissue_late(writer: RecordWriter, late: LateWrites) -> None:
    """Let writes of the old node id be the first ones of the new, with the times they have."""
    for key in late.keys:
        record = writer.load(key)
        if record is None or record.state is None:
            continue
        writer.seq += 1
        state = reissue(record.state, late.node, late.floor, node=writer.node, seq=writer.seq)
        writer.store(key, record, state, new_feed_seq=writer.seq)
        writer.raise_highest(highest_time(state))
    writer.finish()
