"""Brings ends to the disk from a process that does not keep the journal itself."""

from pathlib import Path

from clustersession.core.state import Delta
from clustersession.replica.journal.segments import Segment, others_wait
from clustersession.replica.replica import Replica
from clustersession.wire.journal import JournalCopies, has_ends

PLACES = 128
"""How far back in our feed the ends of one commit may stand, and of those beside it."""

_BYTES_MAX = 2**20


def ends_before(replica: Replica, head: int) -> list[Delta]:
    """Return what has ended at a place of our feed or not far before it."""
    after, ends = max(0, head - PLACES), list[Delta]()
    while after < head:
        batch = replica.feed(after, after, _BYTES_MAX)
        ends += [delta for delta in batch.deltas if has_ends([delta])]
        if batch.complete:
            break
        after = batch.upto
    return ends


def keep_ends(directory: Path, replica: Replica, head: int) -> None:
    """Append what has ended to another process's journal, and sync it. Raises OSError."""
    ends = ends_before(replica, head)
    with others_wait(directory):
        segment = Segment.last(directory)
        try:
            segment.append([JournalCopies(0, ends)])
            segment.sync()
        finally:
            segment.close()
