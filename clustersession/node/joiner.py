"""Brings a node into the cluster: finds the others, loads a snapshot, catches up with feeds.

A replica that has never been loaded takes a snapshot from a donor; a node with its old replica only
catches up.
"""

from clustersession.core.identity import Phase
from clustersession.node.context import Context
from clustersession.node.dialing import Dialer
from clustersession.node.moment import Moment
from clustersession.node.news import BecameReady
from clustersession.node.receiver import Receiver
from clustersession.node.snapshot import Snapshots
from clustersession.wire.messages import Heartbeat, SnapshotPageMessage

TICK_S = 0.05
DISCOVERY_S = 0.5
SEEDS_DISCOVERY_S_MAX = 2.0
NOBODY_READY_S = 2.0
CATCH_UP_S_MAX = 5.0


class Joiner:
    """Brings this node from JOINING to READY."""

    def __init__(
        self, context: Context, receiver: Receiver, dialer: Dialer, snapshots: Snapshots
    ) -> None:
        self._context = context
        self._receiver = receiver
        self._dialer = dialer
        self._snapshots = snapshots
        # When this life began; all waits count from here.
        self._started_s = 0.0
        # When the timer last looked; it looks again every TICK_S while we join, and at once when a
        # page waits to be stored.
        self._looked_s = 0.0
        # The head of each peer's feed when we first heard of it, which is how far we must get
        # before we are ready. Empty once we are.
        self._heads: dict[bytes, int] = {}
        # The phase that follows JOINING: READY, or DRAINING when a drain was asked for. A drain
        # that is asked for later is noted here, too, until workers start anew.
        self.aim = Phase.READY

    def start(self, at: Moment) -> None:
        """Begin; the receiver may stream at once when the replica was loaded before."""
        self._started_s = at.now_s
        self._context.retimed.add(self)
        self._snapshots.start(at)
        for peer in self._context.peers.values():
            self._receiver.announce(peer)

    def on_heartbeat(self, node: bytes, message: Heartbeat) -> None:
        """Note how far there is to catch up, by the first word of a peer."""
        if self._context.phase is Phase.JOINING:
            self._heads.setdefault(node, message.head)

    def on_page(self, node: bytes, message: SnapshotPageMessage, at: Moment) -> None:
        """Note that a page of a snapshot has come; the timer sees to it that it is stored."""
        self._context.retimed.add(self)
        self._snapshots.on_page(node, message, at)

    def forget(self, node: bytes) -> None:
        """Forget a node whose connection is gone."""
        self._heads.pop(node, None)
        self._snapshots.forget(node)

    def handle_timer(self, at: Moment) -> None:
        """Move on when a wait is over."""
        context = self._context
        self._looked_s = at.now_s
        context.retimed.add(self)
        self._snapshots.store(at)
        waited_s = at.now_s - self._started_s
        if not context.discovered and waited_s >= DISCOVERY_S:
            patience_s = SEEDS_DISCOVERY_S_MAX if context.settings.seeds else 2 * DISCOVERY_S
            context.discovered = not self._dialer.untried() or waited_s >= patience_s
        if context.phase is not Phase.JOINING:
            return
        if not self._receiver.loaded and not self._snapshots.is_under_way(at):
            self._load(waited_s, at)
        if self._receiver.loaded and context.discovered:
            self._catch_up(at)

    def next_deadline(self) -> float:
        """Return when ``handle_timer`` has something to do."""
        if self._context.phase is not Phase.JOINING and self._context.discovered:
            return float("inf")
        return self._looked_s + (0.0 if self._snapshots.waiting else TICK_S)

    def _load(self, waited_s: float, at: Moment) -> None:
        context, snapshots = self._context, self._snapshots
        settled = [p for p in context.peers.values() if p.settled]
        if at.now_s - snapshots.page_s > context.settings.join_timeout_s:
            snapshots.do_without("no donor answered in time; sessions are fetched on demand", at)
        elif settled:
            snapshots.load_from(settled[context.choose(len(settled))].node, at)
        elif context.discovered and self._may_start_alone(waited_s):
            snapshots.do_without("no peer holds sessions", at)

    def _may_start_alone(self, waited_s: float) -> bool:
        # Nodes started together all wait for a donor: the lowest id among those that see each other
        # goes first, the others then take its (small) snapshot.
        peers = self._context.peers
        return (
            not peers
            or (all(p.greeted for p in peers.values()) and self._context.own.node < min(peers))
            or waited_s > NOBODY_READY_S
        )

    def _catch_up(self, at: Moment) -> None:
        context = self._context
        behind = [
            node for node, head in self._heads.items()
            if node in context.peers and context.cursor(node).floor < head
        ]
        ungreeted = any(not p.greeted for p in context.peers.values())
        if (behind or ungreeted) and at.now_s < self._snapshots.loaded_s + CATCH_UP_S_MAX:
            return
        context.phase = self.aim
        self._heads.clear()
        how = self._snapshots.how or (
            "caught up with its peers" if context.peers else "alone, with what its replica holds"
        )
        context.tell(BecameReady(how if not behind else f"{how}, still catching up"))
