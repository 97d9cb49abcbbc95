"""Judges what peers say they hold of our feed: it may prove that our replica fell back.

A replica falls back when the machine returns to a snapshot, or its files to a backup. Places in the
feed must then not be given out again. A claim beyond the feed's head shows it. But a worker may
have written before the first peer is heard, so that the head has reached the claim again, with
other writes. So what a peer says first is measured by where the feed stood when the replica was
opened: it cannot know what nobody has sent it. Only a node that started after us can, from another
one's snapshot.
"""

from collections.abc import Sequence
from contextlib import suppress

from clustersession.core.errors import ReplicaError
from clustersession.core.state import SessionState
from clustersession.node.context import Context
from clustersession.node.store_calls import STORE
from clustersession.wire import messages as m

TOLD_MAX = 4096


class Claims:
    """Judges claims about our feed, for one life of the agent."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # Where our feed stood when the replica was opened. It is moved to the head only when too
        # many peers have been judged to remember them.
        self._opened_head = context.replica.opening()
        # Peers whose first word by TCP has been judged. From then on they hear from us, and are
        # measured by the head alone.
        self._told: set[bytes] = set()
        # Peers whose first word about changes that our workers had sent them was judged.
        self._met: set[bytes] = set()
        # Who has shown that our past is lost, and where the feed stood at the first time. It stays
        # lost, though the feed may grow beyond the claim before there is space for a new node id.
        self._ahead: set[bytes] = set()
        self._lost_head: int | None = None

    @property
    def trusted_head(self) -> int:
        """Return up to where nothing stands in the feed at a place given out before."""
        if not self._told:
            return self._opened_head
        return self._context.replica.head() if self._lost_head is None else self._lost_head

    def has_heard(self, node: bytes) -> bool:
        """Tell whether a peer's first word by TCP has been judged."""
        return node in self._told

    def believes(
        self, node: bytes, position: int, *, reliable: bool, provisional: bool
    ) -> bool:
        """Tell whether a peer can be so far.

        ``reliable``: it said so by TCP. A datagram may overtake what the peer says first on its
        connection. ``provisional``: it is loading, and may have begun at a head that we told it.
        """
        if position > self._context.head:
            self._context.head = self._context.replica.head()
        head = self._context.head
        if position > head or node in self._ahead:
            self._lost_head = head if self._lost_head is None else self._lost_head
            if len(self._ahead) < TOLD_MAX:
                self._ahead.add(node)
            return False
        member = self._context.membership.get(node)
        if not reliable or node in self._told or (member is None and node != STORE):
            return True
        # The store has no word of its own: what it knows of us, we have told it ourselves.
        is_older = member is None or member.identity.start < self._context.own.start
        if position > self._opened_head and is_older and not provisional:
            self._lost_head = self._opened_head
            return False
        if len(self._told) >= TOLD_MAX:
            # Rather believe too much than forget whom we told: that would cost us our node id.
            self._opened_head = self._context.replica.head()
            self._told.clear()
        if not self._told:
            # Kept until now: an agent may die before it has met anybody. Where that does not fit
            # on the disk, the next agent may change its node id without need, which loses nothing.
            with suppress(ReplicaError):
                self._context.replica.forget_opening()
        self._told.add(node)
        return True

    def knows(self, node: bytes, place: int, *, provisional: bool) -> bool:
        """Tell whether a peer can have taken a change of ours at a place, ahead of our stream.

        Its first word about that is measured by where the feed stood when the replica was opened:
        our workers send it nothing before it has come.
        """
        head = self._context.head = self._context.replica.head()
        member = self._context.membership.get(node)
        judged = node in self._met or provisional or member is None
        if len(self._met) < TOLD_MAX:
            self._met.add(node)
        if place > head:
            self._lost_head = head if self._lost_head is None else self._lost_head
            return False
        if judged or member is None or member.identity.start > self._context.own.start:
            return True
        if place > self._opened_head:
            self._lost_head = self._opened_head
            return False
        return True

    def remembers(self, message: m.Message) -> bool:
        """Tell whether the copies in a message name no write of ours that we do not remember."""
        return self.remembers_all(_copies_in(message))

    def remembers_all(self, copies: Sequence[SessionState]) -> bool:
        """Tell whether some copies name no write of ours that we do not remember."""
        own, head = self._context.own.node, self._context.replica.head() if copies else 0
        return all(state.versions.get(own, 0) <= head for state in copies)


def _copies_in(message: m.Message) -> list[SessionState]:
    match message:
        case m.SnapshotPageMessage() | m.Sessions():
            return [state for _, state in message.sessions]
        case m.Fetched(_, state) if state is not None:
            return [state]
        case m.DirectChange():
            return [delta.state for delta in message.batch.deltas]
        case _:
            return []
