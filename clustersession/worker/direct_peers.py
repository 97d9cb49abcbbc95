"""Knows to whom a write may be sent directly, and how it is put."""

from collections.abc import Callable, Sequence

from clustersession.core.direct_peers import DIRECT_NOTE, NOBODY, DirectPeer, DirectPeers
from clustersession.core.errors import ReplicaError
from clustersession.core.feed import Batch
from clustersession.core.state import Delta
from clustersession.replica.replica import Replica
from clustersession.wire.messages import DirectChange, encode_message
from clustersession.worker.direct_way import PlainWrite

QUESTION_BYTES_MAX = 1400
"""As much as a datagram carries in one piece; what is larger goes through the agents."""


class DirectPeersReader:
    """Reads from the replica who takes changes directly, as the agent has noted there.

    is_attached: whether the agent that wrote the note lives. Of one that is gone it says nothing:
    the replica may have been set back since, and give out places again that peers know.
    all_peers: with ``ack="all"`` every other node has to hold a write.

    _known: the note as it was read last, and what follows from it; replaced together.
    """

    def __init__(
        self, replica: Replica, is_attached: Callable[[], bool], *, all_peers: bool
    ) -> None:
        self._replica = replica
        self._is_attached = is_attached
        self._all_peers = all_peers
        self._known: tuple[bytes | None, DirectPeers] = (None, NOBODY)

    def whom_to_ask(self, write: PlainWrite) -> Sequence[DirectPeer]:
        """Return the peers that must hold a write; none: the agent is to be asked."""
        if not self._is_attached():
            return ()
        try:
            note = self._replica.load_note(DIRECT_NOTE)
        except ReplicaError:
            return ()
        if note != self._known[0]:
            self._known = note, DirectPeers.decode(note)
        noted = self._known[1]
        if noted.own != write.node:
            # Our node has begun again under a new id since it was written, or is about to.
            return ()
        if not self._all_peers:
            return noted.peers[:1]
        return noted.peers if noted.everybody else ()

    def are_all(self, peers: Sequence[DirectPeer]) -> bool:
        """Tell whether these are all that keep a copy, by what was read last."""
        noted = self._known[1]
        return noted.everybody and len(peers) == len(noted.peers)


def question(write: PlainWrite, number: int) -> bytes | None:
    """Return the message that brings a write to a peer; None for one that is too large."""
    delta = Delta(write.key, write.part, full=False)
    batch = Batch(write.node, write.base, write.seq - 1, write.seq, write.seq, (delta,))
    data = encode_message(DirectChange(batch, number))
    return data if len(data) <= QUESTION_BYTES_MAX else None
