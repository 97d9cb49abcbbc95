"""Brings a node with a store from joining to ready: when what it holds was compared with the store.
"""

from clustersession.core.identity import Phase
from clustersession.node.context import Context
from clustersession.node.dialing import Dialer
from clustersession.node.joiner import CATCH_UP_S_MAX, TICK_S, Joiner
from clustersession.node.moment import Moment
from clustersession.node.news import BecameReady
from clustersession.node.receiver import Receiver
from clustersession.node.snapshot import Snapshots
from clustersession.node.store_peer import StorePeer

AWAY_S = 2.0
"""How long a store that does not answer is waited for; then the node serves what it holds."""


class StoreJoiner(Joiner):
    """Decides when the node is ready, in the place of discovery and snapshot."""

    def __init__(
        self,
        context: Context,
        receiver: Receiver,
        dialer: Dialer,
        snapshots: Snapshots,
        store: StorePeer,
    ) -> None:
        super().__init__(context, receiver, dialer, snapshots)
        self._store = store

    def start(self, at: Moment) -> None:
        """Begin to wait for the store."""
        self._started_s = at.now_s
        self._receiver.loaded = True
        self._context.retimed.add(self)

    def handle_timer(self, at: Moment) -> None:
        """Move on when a wait is over."""
        context = self._context
        self._looked_s = at.now_s
        context.retimed.add(self)
        waited_s = at.now_s - self._started_s
        away = not context.peers and waited_s >= AWAY_S
        if away and not context.discovered:
            context.discovered = True
            context.view_is_stale = True
        if context.phase is not Phase.JOINING:
            return
        checked = self._store.reader.checked
        if checked or away or waited_s >= CATCH_UP_S_MAX:
            context.phase = self.aim
            how = "caught up with the store" if checked else (
                "the store is away; with what its replica holds" if away
                else "with what its replica holds, still being compared with the store"
            )
            context.tell(BecameReady(how))

    def next_deadline(self) -> float:
        """Return when ``handle_timer`` has something to do."""
        if self._context.phase is not Phase.JOINING and self._context.discovered:
            return float("inf")
        return self._looked_s + TICK_S
