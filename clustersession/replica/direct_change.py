"""Joins a change that came ahead of its node's stream, within one transaction.

See ``core.direct_change`` for what makes that right.
"""

from clustersession.core.direct_change import Fit, judge
from clustersession.core.errors import SessionTooLarge
from clustersession.core.feed import Batch
from clustersession.core.state import Delta, highest_time, merge
from clustersession.replica import tables
from clustersession.replica.engines.contract import ReadTransaction, WriteTransaction
from clustersession.replica.reading import cursor_of
from clustersession.replica.record_writer import RecordWriter


def take_change(
    transaction: WriteTransaction,
    writer: RecordWriter,
    batch: Batch,
    delta: Delta,
    wall_ms: int,
) -> bool:
    """Join one of the changes; True: it is here once the transaction is committed, or was before.
    """
    node, state = batch.sender, delta.state
    if node == writer.node:
        return False
    alone = len(batch.deltas) == 1 and state.versions == {node: batch.upto}
    if not delta.full and (state.ended is not None or not alone):
        # Ends go whole or by the streams, which say what they contain of others' writes.
        return False
    record = writer.load(delta.key)
    current = writer.current(delta.key, record)
    floor = cursor_of(transaction, node).floor
    fit = judge(current, state, node, batch.floor, floor, wall_ms, full=delta.full)
    if fit is not Fit.JOIN:
        return fit is Fit.HELD
    try:
        joined = state if current is None else merge(current, state)
        stored = writer.store(delta.key, record, joined)
    except SessionTooLarge:
        return False
    writer.raise_highest(highest_time(state))
    # Our cursor does not say that we know this place, and must not. Should the node lose its past,
    # it is to learn from us that it has.
    if batch.upto > known_place(transaction, node):
        place = tables.encode_place(batch.upto)
        transaction.put(tables.NOTES, tables.known_key(node), place)
    return (stored.ended is None) is (state.ended is None)


def known_place(transaction: ReadTransaction, node: bytes) -> int:
    """Return the highest place in a node's feed of which a change was taken directly."""
    return tables.decode_place(transaction.get(tables.NOTES, tables.known_key(node)))
