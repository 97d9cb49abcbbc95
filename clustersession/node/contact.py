"""Tells the workers whether this agent has met its peers since it started."""

from clustersession.core.contact import APART, CONTACT_NOTE, MET
from clustersession.core.errors import ReplicaError
from clustersession.core.identity import Phase
from clustersession.node.context import Context
from clustersession.node.news import ViewNotWritten
from clustersession.replica.replica import Replica


class ContactWriter:
    """Leaves the workers a note in the replica: once at the start, once when peers were met."""

    def __init__(self, replica: Replica) -> None:
        """Begin apart, where peers were ever met. Raises ReplicaError."""
        # Whether a former agent has met somebody, who may have ended sessions meanwhile.
        self._has_peers = replica.load_note(CONTACT_NOTE) is not None
        self._met = False
        if self._has_peers:
            replica.save_note(CONTACT_NOTE, APART)

    def write(self, context: Context) -> None:
        """Note that peers were met, once they were; when that fails, the next call tries again.

        Who meets the first peers of all has missed nothing of theirs; but from then on they may end
        what is here, also when this agent is killed before it is ready.
        """
        caught_up = context.phase in (Phase.READY, Phase.DRAINING)
        if self._met or not (caught_up if self._has_peers else context.peers):
            return
        try:
            context.replica.save_note(CONTACT_NOTE, MET)
        except ReplicaError as error:
            context.tell(ViewNotWritten(str(error)))
        else:
            self._met = True
