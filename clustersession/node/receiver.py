"""Applies the others' feeds in order, and asks for them again after a gap."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from clustersession.core.clock import too_far_ahead
from clustersession.core.errors import ReplicaFull
from clustersession.core.feed import START, Batch, Cursor, advance, follows, is_news
from clustersession.core.state import highest_time
from clustersession.node.context import Context, Peer
from clustersession.node.moment import Moment
from clustersession.node.news import FutureRefused, GapFound
from clustersession.node.puller import Puller
from clustersession.replica.reserve import ends_among
from clustersession.replica.results import Applied
from clustersession.wire.messages import Changes, Heartbeat, Progress

RESUME_INTERVAL_S = 0.05
STALL_S = 2.0
LATER_MAX = 16


@dataclass(slots=True)
class Held:
    """Is a batch that waits for whole copies of sessions of which it only holds changes.

    Were the cursor moved at once, it would claim what is not here, for ever if the copies do not
    come; and later changes would be merged into copies that lack these.

    message: the batch. keys: the sessions that were asked for whole.
    later: batches that came after it, LATER_MAX at most; the stream brings the rest again.
    """

    message: Changes
    keys: frozenset[str]
    later: list[Changes] = field(default_factory=list)


class Receiver:
    """Keeps our cursors on the others' feeds moving."""

    def __init__(self, context: Context, puller: Puller) -> None:
        self._context = context
        self._puller = puller
        # All tables are by peer, and forget one when its last link is gone.
        # When a stream was last asked for again, so that it is not asked for all the time.
        self._resumed_s: dict[bytes, float] = {}
        # Where our cursor stood at the peer's last heartbeat, and since when it has stood below the
        # head that these tell without moving; no entry: it is at the head.
        self._position_at_heartbeat: dict[bytes, int] = {}
        self._behind_since_s: dict[bytes, float] = {}
        # The batch that waits for whole copies. Until they come our cursor does not move.
        self._held: dict[bytes, Held] = {}
        # The first batch that there was no space for; tried again at each heartbeat of the peer.
        self._unstored: dict[bytes, Changes] = {}
        # While we load a snapshot: where we began to follow the peer's feed. What is before comes
        # with the pages. Empty when loaded.
        self._bases: dict[bytes, int] = {}
        # Peers of which we have applied something that we have not told them; our next heartbeat
        # does, unless it is brief.
        self._unconfirmed: set[bytes] = set()
        # Peers that wait for our word until something is on the disk: where their stream begins,
        # or how far we are.
        self._unannounced: set[bytes] = set()
        self._owed: set[bytes] = set()
        # Whether the replica holds what the cluster held at some time. Before that, what we confirm
        # is provisional, and cursors are in memory only.
        self.loaded = False
        # How many changes were applied in this life.
        self.applied = 0

    def announce(self, peer: Peer) -> None:
        """Tell a peer where its stream to us begins.

        While we load a snapshot that is the head of its feed, once it has told us: what it writes
        from now on is confirmed to whoever waits for it, what it wrote before comes with the pages.
        """
        cursor = self._context.cursors.get(peer.node)
        if self.loaded or cursor is not None:
            self._report(peer.node, resume=True)

    def begin_provisionally(self, peer: Peer, head: int) -> None:
        """Follow the feed of a peer from where it stands at its first heartbeat, while we load."""
        if not self.loaded and peer.node not in self._bases:
            self._bases[peer.node] = head
            self._context.cursors[peer.node] = Cursor(head, head)
            self.announce(peer)

    def released(self, nodes: Iterable[bytes]) -> None:
        """Tell peers what had to be on the disk first."""
        for node in nodes:
            if node in self._unannounced:
                self._unannounced.discard(node)
                self._report(node, resume=True)
            elif node in self._owed:
                self._report(node)

    def finish_loading(self, inherited: Mapping[bytes, Cursor], at: Moment) -> None:
        """Keep the streams that the loaded snapshot joins up with, and begin the others anew."""
        context = self._context
        followed = {
            node: context.cursor(node)
            for node, base in self._bases.items()
            if inherited.get(node, START).floor >= base
        }
        context.replica.inherit({**inherited, **followed})
        context.cursors.clear()
        context.cursors.update(context.replica.cursors())
        self._bases.clear()
        self.loaded = True
        # There may be ends in what was loaded.
        context.journal.hold_all([(node, None) for node in context.cursors], at)
        for peer in context.peers.values():
            self.announce(peer)

    def on_changes(self, node: bytes, message: Changes, at: Moment, *, reliable: bool) -> None:
        """Apply a batch, when everything it builds on is here, and confirm it if we are asked to.

        Otherwise our next heartbeat does.
        """
        context = self._context
        batch = message.batch
        if batch.sender != node or not (self.loaded or node in self._bases):
            return
        if self.lives_in_the_future(node):
            context.tell(FutureRefused(node))
            return
        cursor = context.cursor(node)
        if is_news(batch, cursor):
            held = self._held.get(node)
            if held is not None:
                if len(held.later) < LATER_MAX:
                    held.later.append(message)
                return
            if not follows(batch, cursor):
                if node not in self._unstored:
                    self._resume(node, at)
                else:
                    self._take_ends(batch, at)
                return
            absent = self._apply(node, message, at, whole=True)
            if absent:
                self._held[node] = Held(message, frozenset(absent))
                self._puller.pull(node, absent, at, first=True)
        elif (reliable or message.confirm) and self._is_asked(message):
            self._report(node)

    def pulled(self, node: bytes, at: Moment) -> None:
        """Go on with a batch that waited for copies, which have come from a peer."""
        held = self._held.get(node)
        if held is None or not held.keys.isdisjoint(self._puller.pending(node)):
            return
        del self._held[node]
        # What has not come by now, the peer does not have any more, or it is expired here.
        self._apply(node, held.message, at, whole=False)
        for message in held.later:
            self.on_changes(node, message, at, reliable=True)

    def let_go(self, node: bytes) -> None:
        """Put off what waits for copies from a peer that could not be stored."""
        held = self._held.pop(node, None)
        if held is not None:
            self._unstored[node] = held.message

    def is_held(self, node: bytes) -> bool:
        """Tell whether a batch of a peer waits for copies."""
        return node in self._held

    def lives_in_the_future(self, node: bytes) -> bool:
        """Tell whether a node's clock is too far ahead for its changes to be taken."""
        # Judged by its clock and not by its stamps: those may be of a third node, ahead of it by as
        # much again, and a node that adopted them is not to blame. The replica allows for that.
        member = self._context.membership.get(node)
        bound_ms = self._context.settings.clock_skew_s_max * 1000
        return member is not None and member.skew_ms > bound_ms

    def _absent(self, batch: Batch, at: Moment) -> list[str]:
        get = self._context.replica.get
        return [
            delta.key
            for delta in batch.deltas
            if not delta.full and delta.state.deadline_ms > at.wall_ms and get(delta.key) is None
        ]

    def confirm_late(self) -> None:
        """Confirm what no heartbeat of ours will."""
        for node in sorted(self._unconfirmed):
            self._report(node)

    def _is_asked(self, message: Changes) -> bool:
        # While we load, our heartbeats confirm nothing.
        confirmers = message.confirmers
        return not self.loaded or confirmers is None or self._context.own.node in confirmers

    def _apply(
        self, node: bytes, message: Changes, at: Moment, *, whole: bool
    ) -> Sequence[str]:
        """Apply and confirm; ``whole``: unless sessions are missing, which it returns."""
        context = self._context
        batch = message.batch
        before = context.cursor(node)
        has_ends = context.journal.received(batch.deltas, at)
        try:
            if self.loaded:
                applied = context.replica.apply(batch, at.wall_ms, whole=whole)
            elif whole and (absent := self._absent(batch, at)):
                return absent
            else:
                applied = self._apply_provisionally(batch, context.cursor(node), at)
        except ReplicaFull:
            self._unstored[node] = message
            raise
        if applied.refused_future:
            context.tell(FutureRefused(node))
            return ()
        self.applied += applied.changed
        if whole and applied.missing:
            return applied.missing
        context.cursors[node] = applied.cursor
        if has_ends:
            context.journal.hold(node, before, at)
        if self._is_asked(message):
            self._report(node)
        else:
            self._unconfirmed.add(node)
        return ()

    def _apply_provisionally(self, batch: Batch, cursor: Cursor, at: Moment) -> Applied:
        replica = self._context.replica
        lead_ms_max = self._context.settings.stamp_lead_ms_max
        for delta in batch.deltas:
            # A merge passes over such a session, and what is not here must not be confirmed.
            if too_far_ahead(highest_time(delta.state), at.wall_ms, lead_ms_max):
                return Applied(cursor, 0, (), refused_future=True)
        changed = replica.merge(
            [(d.key, d.state) for d in batch.deltas if d.full or replica.get(d.key) is not None],
            at.wall_ms,
        )
        return Applied(advance(cursor, batch), changed, ())

    def _report(self, node: bytes, *, resume: bool = False) -> None:
        self._unconfirmed.discard(node)
        context = self._context
        cursor = context.told(node)
        if cursor is None:
            self._unannounced.add(node)
            return
        if cursor != context.cursor(node):
            self._owed.add(node)
        else:
            self._owed.discard(node)
        known = context.replica.known(node) if resume else 0
        context.send(node, Progress(cursor, resume, not self.loaded, known))

    def on_heartbeat(self, node: bytes, message: Heartbeat, at: Moment) -> None:
        """Notice what did not arrive: the loss of a last datagram, or a stream that stalled."""
        peer = self._context.peers.get(node)
        if peer is None:
            return
        self.begin_provisionally(peer, message.head)
        self._try_again(node, message.head, at)
        position = self._context.cursor(node).position
        stood_still = self._position_at_heartbeat.get(node) == position
        self._position_at_heartbeat[node] = position
        if position >= message.head:
            self._behind_since_s.pop(node, None)
            return
        since_s = self._behind_since_s.setdefault(node, at.now_s)
        if not stood_still:
            self._behind_since_s[node] = at.now_s
        elif message.multicast_head > position or at.now_s - since_s > STALL_S:
            self._behind_since_s[node] = at.now_s
            self._resume(node, at)

    def _try_again(self, node: bytes, head: int, at: Moment) -> None:
        """Try again what there was no space for: there may be some by now.

        Were it sent again each time, a full disk would keep all peers busy, so only a stream that
        has stalled is asked for meanwhile, for the ends in it; were that all, writes would wait for
        this node after there is space.
        """
        unstored = self._unstored.pop(node, None)
        if unstored is None:
            return
        with suppress(ReplicaFull):
            self.on_changes(node, unstored, at, reliable=True)
            if node not in self._held and self._context.cursor(node).position < head:
                # What followed was not kept, so the peer has to send it again.
                self._resume(node, at)

    def _take_ends(self, batch: Batch, at: Moment) -> None:
        """Take the ends of what follows a batch that waits for space: a logout counts at once."""
        ends = [(d.key, d.state) for d in ends_among(batch.deltas) if d.full]
        if ends:
            with suppress(ReplicaFull):
                self._context.merge(ends, at)

    def forget(self, node: bytes) -> None:
        """Forget a node whose connection is gone."""
        self._resumed_s.pop(node, None)
        self._behind_since_s.pop(node, None)
        self._position_at_heartbeat.pop(node, None)
        self._held.pop(node, None)
        self._unstored.pop(node, None)
        for waiting in (self._unconfirmed, self._unannounced, self._owed):
            waiting.discard(node)
        if self._bases.pop(node, None) is not None:
            self._context.cursors.pop(node, None)

    def _resume(self, node: bytes, at: Moment) -> None:
        if at.now_s - self._resumed_s.get(node, float("-inf")) < RESUME_INTERVAL_S:
            return
        self._resumed_s[node] = at.now_s
        self._held.pop(node, None)
        self._context.tell(GapFound(node))
        self._report(node, resume=True)
