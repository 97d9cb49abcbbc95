"""Leaves the workers a note of whom they may send their changes to directly."""

from clustersession.core.direct_peers import DIRECT_NOTE, DirectPeer, DirectPeers
from clustersession.core.errors import ReplicaError
from clustersession.node.confirmations import Confirmations
from clustersession.node.context import Context
from clustersession.node.news import ViewNotWritten
from clustersession.replica.replica import Replica


class DirectPeersWriter:
    """Leaves the note in the replica whenever it is another one.

    A peer is named once its first word on how far it knows our feed was believed: before that,
    places that we give out may have been given out before. So a former agent's note is of no use.
    """

    def __init__(self, replica: Replica) -> None:
        """Take back what a former agent has left. Raises ReplicaError."""
        # What stands in the note.
        self._written = b""
        if replica.load_note(DIRECT_NOTE):
            replica.save_note(DIRECT_NOTE, b"")

    def write(self, context: Context, confirmations: Confirmations) -> None:
        """Write the note if it has changed; when that fails, the next call tries again."""
        note = direct_peers(context, confirmations).encode()
        if note == self._written:
            return
        try:
            context.replica.save_note(DIRECT_NOTE, note)
        except ReplicaError as error:
            context.tell(ViewNotWritten(str(error)))
        else:
            self._written = note


def direct_peers(context: Context, confirmations: Confirmations) -> DirectPeers:
    """Return who takes changes directly: the peers that the agent itself would ask, in its order.
    """
    able = [p for p in confirmations.in_order() if p.takes_direct]
    everybody = (
        context.discovered and not context.unlinked() and len(able) == len(context.peers)
    )
    peers = tuple(DirectPeer(p.node, p.address) for p in able)
    return DirectPeers(context.own.node, peers if context.store is None else (), everybody)
