"""Is the arithmetic of the change feed, which is compacted, and of the cursors that follow it.

Every local commit takes the node's next sequence number and moves its session to that place in the
feed, so the feed holds one entry per session. A peer's progress is a cursor:

``position``  how far the feed has been scanned
``floor``     up to where *everything* the node wrote has been received
``scanned``   the highest head that a batch between the two was read at

One number is not enough. While a peer catches up in batches, a session not yet sent may be written
again and move behind the scan; a batch that left out registers older than the scan position would
lose the earlier write. So each batch carries everything above the floor, and the floor follows the
position only when a batch, read in one transaction, reached the head of the feed.

Nor are two enough where batches overtake each other, as datagrams do. A batch that was read later
leaves out a session that has moved on meanwhile. When a batch that was read before and reached the
head of its day arrives after it, together they show a scan that nobody made, without that session.
So a batch moves the floor only when it was read no earlier than those that the position rests on,
and the head of the feed, which never goes back, says when that was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clustersession.core.state import Delta


class Cursor(NamedTuple):
    """Says how much of one node's feed a receiver has applied; for its numbers see above."""

    floor: int
    position: int
    scanned: int = 0


START = Cursor(0, 0)


@dataclass(frozen=True, slots=True)
class Batch:
    """Carries the part (after, upto] of a sender's feed, with all it wrote above ``floor``.

    ``head`` is where the feed ended when the part was read.
    """

    sender: bytes
    floor: int
    after: int
    upto: int
    head: int
    deltas: Sequence[Delta]

    @property
    def complete(self) -> bool:
        """Tell whether the part reaches the head of the feed."""
        return self.upto >= self.head


def follows(batch: Batch, cursor: Cursor) -> bool:
    """Tell whether a receiver at ``cursor`` may apply the batch without leaving a gap."""
    return batch.floor <= cursor.floor and batch.after <= cursor.position


def is_news(batch: Batch, cursor: Cursor) -> bool:
    """Tell whether the batch moves the cursor at all."""
    return advance(cursor, batch) != cursor


def advance(cursor: Cursor, batch: Batch) -> Cursor:
    """Return the cursor after applying a batch that follows it."""
    if batch.complete and batch.upto > cursor.floor and batch.upto >= cursor.scanned:
        return Cursor(batch.upto, max(cursor.position, batch.upto))
    if batch.upto <= cursor.position:
        return cursor
    return Cursor(cursor.floor, batch.upto, max(cursor.scanned, batch.head))
