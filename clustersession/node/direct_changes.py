"""Takes changes that come ahead of their nodes' streams: from workers, and from agents.

The stream stays the truth. A worker sends a change early so that it need not wait for two agents,
and an agent sends whole copies of what somebody waits for past what is queued in its stream; what
does not stand on what is here is refused, and comes by the stream. Nothing is
remembered between two changes but what the replica holds, so a change that is lost, late, repeated
or overtaken does no harm.
"""

from clustersession.core.errors import ReplicaError
from clustersession.node.context import Context
from clustersession.node.moment import Moment
from clustersession.node.receiver import Receiver
from clustersession.wire.journal import has_ends
from clustersession.wire.messages import DirectAnswer, DirectChange


class DirectChanges:
    """Takes or refuses changes, and answers the workers that sent them.

    taken, refused: how many; a change that was here already counts as taken.
    """

    def __init__(self, context: Context, receiver: Receiver) -> None:
        self._context = context
        self._receiver = receiver
        self.taken = self.refused = 0

    def on_copies(self, node: bytes, message: DirectChange, at: Moment) -> None:
        """Take whole copies that an agent sends ahead of its stream, and answer it."""
        deltas = message.batch.deltas
        if message.batch.sender == node and all(delta.full for delta in deltas):
            self._context.send(node, self._take(node, message, at))

    def on_change(self, asker: bytes, message: DirectChange, at: Moment) -> DirectAnswer:
        """Take a change, if it can stand here; the answer is to go to the worker that sent it."""
        if any(delta.full for delta in message.batch.deltas):
            # Whole copies are taken from agents alone, whose words about our own writes are judged.
            self.refused += 1
            return DirectAnswer(asker, message.number, False)
        return self._take(asker, message, at)

    def _take(self, asker: bytes, message: DirectChange, at: Moment) -> DirectAnswer:
        """Return an answer that says that all was taken only when that is committed."""
        try:
            replica = self._context.replica
            taken = self._may_come(message) and replica.take(message.batch, at.wall_ms)
        except ReplicaError:
            # The disk may be full; by the stream the change is tried again.
            taken = False
        if taken:
            # Not before, as with the streams: what is refused would have the session in the journal
            # claim what it lacks. A change that a kill leaves out here was answered to nobody.
            self._context.journal.received(message.batch.deltas, at)
            self.taken += 1
        else:
            self.refused += 1
        return DirectAnswer(asker, message.number, taken)

    def _may_come(self, message: DirectChange) -> bool:
        """Tell whether we follow the node's feed and hold what the cluster holds.

        A node that we are not linked with may have begun anew, or be about to learn from its peers
        that it has lost its past; and its word on its clock is missing.
        """
        batch, context = message.batch, self._context
        peer = context.peers.get(batch.sender)
        return (
            peer is not None and peer.settled and self._receiver.loaded
            and all(context.keeps(context.own.node, delta.key) for delta in batch.deltas)
            and not self._receiver.lives_in_the_future(batch.sender)
            # The stream says how far we are when an end is on the disk, see ``node.journaling``.
            and not (context.journal.is_kept and has_ends(batch.deltas))
        )
