"""Begins a feed anew, under a new node id, when it does not go on where it stopped.

A replica that came back older than it was would give places in its feed out twice. Where the feed
stood when the replica was opened tells which of its writes may stand at such places; they go on
under a new node id. So does what was written by a clock that was far ahead: peers refuse its times.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from clustersession.core.clock import first_time, too_far_ahead
from clustersession.core.state import SessionState, highest_time, redated, reissue, times_in
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


def date_again(
    transaction: WriteTransaction, writer: RecordWriter, wall_ms: int, lead_ms_max: int
) -> None:
    """Write again, as of now, what carries times that no clock can have shown yet."""
    keys: list[str] = []
    wrong: set[int] = set()
    highest = first_time(wall_ms)
    for session_key, data in transaction.scan(tables.SESSIONS, b""):
        state = tables.state_of_record(data)
        if state is None:
            continue
        times = times_in(state)
        late = {time for time in times if too_far_ahead(time, wall_ms, lead_ms_max)}
        highest = max(highest, max(times - late, default=0))
        if late or state.created_ms > wall_ms + lead_ms_max:
            keys.append(tables.key_of_session(session_key))
            wrong |= late
    new_times = {time: highest + 1 + place for place, time in enumerate(sorted(wrong))}
    writer.highest = highest + len(wrong)
    _write_again(writer, keys, partial(redated, times=new_times, latest_ms=wall_ms))


def reissue_late(writer: RecordWriter, late: LateWrites) -> None:
    """Let writes of the old node id be the first ones of the new, with the times they have."""
    _write_again(writer, late.keys, partial(reissue, old=late.node, floor=late.floor))


def _write_again(
    writer: RecordWriter, keys: Iterable[str], remade: Callable[..., SessionState]
) -> None:
    """Give sessions new places in our feed; ``remade`` makes a copy the write of such a place."""
    for key in keys:
        record = writer.load(key)
        if record is None or record.state is None:
            continue
        writer.seq += 1
        state = remade(record.state, node=writer.node, seq=writer.seq)
        writer.store(key, record, state, new_feed_seq=writer.seq)
        writer.raise_highest(highest_time(state))
