"""The compacted change feed and the cursors that follow it.

Every local commit takes the node's next sequence number and moves its session to that place in the
feed, so the feed holds one entry per session. A peer's progress is a cursor of two numbers:

``position``  how far the feed has been scanned
``floor``     up to where *everything* the node wrote has been received

One number is not enough. While a peer catches up in chunks, a session not yet sent may be written
again and move behind the scan; a chunk that left out registers older than the scan position would
lose the earlier write. So each chunk carries everything above the floor, and the floor follows the
position only when a chunk, read in one transaction, reached the head of the feed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clustersession.core.state import Delta


class Cursor(NamedTuple):
    """How much of one node's feed a receiver has applied."""

    floor: int
    position: int


START = Cursor(0, 0)


@dataclass(frozen=True, slots=True)
class Batch:
    """The part (after, upto] of a sender's feed, with all it wrote above ``floor``."""

    sender: bytes
    floor: int
    after: int
    upto: int
    complete: bool
    deltas: Sequence[Delta]


def follows(batch: Batch, cursor: Cursor) -> bool:
    """Whether a receiver at ``cursor`` may apply the batch without leaving a gap."""
    return batch.floor <= cursor.floor and batch.after <= cursor.position


def is_news(batch: Batch, cursor: Cursor) -> bool:
    """Whether the batch moves the cursor at all."""
    return advance(cursor, batch) != cursor


def advance(cursor: Cursor, batch: Batch) -> Cursor:
    """The cursor after applying a batch that follows it."""
    position = max(cursor.position, batch.upto)
    return Cursor(max(cursor.floor, batch.upto) if batch.complete else cursor.floor, position)
