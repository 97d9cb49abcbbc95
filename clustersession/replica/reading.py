"""Reads the replica's bookkeeping within one transaction."""

from clustersession.core.errors import ReplicaUnusable, WireError
from clustersession.core.feed import START, Cursor
from clustersession.core.state import Delta, delta_since
from clustersession.replica import tables
from clustersession.replica.decoded import DecodedRecords
from clustersession.replica.engines.contract import ReadTransaction

_REGISTER_BYTES = 24
_DELTA_BYTES = 64


def head_from(data: bytes | None) -> tables.Head:
    """Return the head of the replica from its stored form. Raises ReplicaUnusable."""
    if data is None:
        raise ReplicaUnusable("the replica has lost its head")
    try:
        return tables.decode_head(data)
    except WireError as error:
        raise ReplicaUnusable(str(error)) from error


def head_of(transaction: ReadTransaction) -> tables.Head:
    """Read the head: node id, highest place, highest stamp. Raises ReplicaUnusable."""
    return head_from(transaction.get(tables.META, tables.HEAD_KEY))


def cursor_of(transaction: ReadTransaction, node: bytes) -> Cursor:
    """Return how far we have applied a node's feed."""
    data = transaction.get(tables.CURSORS, node)
    return START if data is None else tables.decode_cursor(data)


def cursors_of(transaction: ReadTransaction) -> dict[bytes, Cursor]:
    """Return how far we have applied each other node's feed."""
    return {
        node: tables.decode_cursor(data) for node, data in transaction.scan(tables.CURSORS, b"")
    }


def delta_of(
    transaction: ReadTransaction, decoded: DecodedRecords, key: str, node: bytes, floor: int
) -> Delta | None:
    """Read what a node wrote to a session above ``floor``; None when the session is unreadable."""
    data = transaction.get(tables.SESSIONS, tables.session_key(key))
    state = None if data is None else decoded.state_of(key, data)
    return None if state is None else delta_since(key, state, node, floor)


def size_about(delta: Delta) -> int:
    """Estimate how many bytes a delta takes, encoded."""
    size = _DELTA_BYTES
    for name, register in delta.state.registers.items():
        size += _REGISTER_BYTES + len(name) + len(register.value or b"")
    return size
