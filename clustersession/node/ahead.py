"""Makes the message that brings what somebody waits for to a peer ahead of our stream.

Beside much else in the feed a write would be confirmed when the peer has applied all before it. So
the sessions that were written go past it, whole: a whole copy may be joined at any time, and the
peer's cursor stays where it is. The stream carries the writes all the same.
"""

from collections.abc import Sequence

from clustersession.core.feed import Batch
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import Delta, shared
from clustersession.node.context import Context, copy_bytes_max
from clustersession.wire.messages import DirectChange

AHEAD_BYTES_MAX = 64 * 2**10
"""More would hold up others longer than the queue does."""


def changes_ahead(
    context: Context, number: int, seq: int, keys: Sequence[str]
) -> DirectChange | None:
    """Return the sessions with all that we wrote up to ``seq``; None where the stream must do.

    number: names the answer. keys: all sessions that the write at ``seq`` and what was committed
    with it changed.
    """
    deltas: list[Delta] = []
    for key in keys:
        state = context.replica.get(key)
        if state is None or key[0] == RESERVED_PREFIX:
            return None
        deltas.append(Delta(key, shared(state), full=True))
    places = [delta.state.versions.get(context.own.node, 0) for delta in deltas]
    upto = max(places)
    if upto < seq or sum(copy_bytes_max(delta.state) for delta in deltas) > AHEAD_BYTES_MAX:
        # Less than was written is here when the replica was set back since.
        return None
    return DirectChange(Batch(context.own.node, 0, min(places) - 1, upto, upto, deltas), number)
