"""Joins a change that a worker of another node sent itself, within one transaction.

See ``core.direct_change`` for what makes that right.
"""

from clustersession.core.direct_change import Fit, judge
from clustersession.core.errors import SessionTooLarge
from clustersession.core.feed import Batch
from clustersession.core.state import highest_time, merge
from clustersession.replica import tables
from clustersession.replica.engines.contract import ReadTransaction, WriteTransaction
from clustersession.replica.reading import cursor_of
from clustersession.replica.record_writer import RecordWriter


def take_change(
    transaction: WriteTransaction, writer: RecordWriter, batch: Batch, wall_ms: int
) -> bool:
    """Join the change; True: it is here once the transaction is committed, or was before."""
    node = batch.sender
    if node == writer.node or len(batch.deltas) != 1:
        return False
    delta = batch.deltas[0]
    if delta.full or delta.state.ended is not None or delta.state.versions != {node: batch.upto}:
        # Whole copies and ends go by the streams, which say what they contain of others' writes.
        return False
    record = writer.load(delta.key)
    current = writer.current(delta.key, record)
    floor = cursor_of(transaction, node).floor
    fit = judge(current, delta.state, node, batch.floor, floor, wall_ms)
    if fit is not Fit.JOIN or current is None:
        return fit is Fit.HELD
    try:
        stored = writer.store(delta.key, record, merge(current, delta.state))
    except SessionTooLarge:
        return False
    writer.raise_highest(highest_time(delta.state))
    # Our cursor does not say that we know this place, and must not. Should the node lose its past,
    # it is to learn from us that it has.
    if batch.upto > known_place(transaction, node):
        place = tables.encode_place(batch.upto)
        transaction.put(tables.NOTES, tables.known_key(node), place)
    return stored.ended is None


def known_place(transaction: ReadTransaction, node: bytes) -> int:
    """Return the highest place in a node's feed of which a change was taken directly."""
    return tables.decode_place(transaction.get(tables.NOTES, tables.known_key(node)))
