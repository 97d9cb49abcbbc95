"""Asks peers for all that has ended, page by page: what a node must know before it recovers."""

from dataclasses import dataclass

from clustersession.core.clock import too_far_ahead
from clustersession.core.state import highest_time
from clustersession.node.context import Context
from clustersession.node.moment import Moment
from clustersession.wire.messages import SnapshotPageMessage, SnapshotRequest

PAGE_TIMEOUT_S = 5.0


@dataclass(slots=True)
class Asked:
    """Is how far we have got with a peer. until_s: when the page that is under way is late."""

    after_key: str
    until_s: float


class EndsFetcher:
    """Fetches the ends that each of some peers has."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # By peer, while pages are to come from it.
        self._asked: dict[bytes, Asked] = {}
        # The peers whose ends are all here.
        self.fetched: set[bytes] = set()

    def fetch(self, node: bytes, at: Moment) -> None:
        """Begin with a peer, or begin anew."""
        self.fetched.discard(node)
        self._ask(node, "", at)

    def on_page(self, node: bytes, message: SnapshotPageMessage, at: Moment) -> bool:
        """Take a page; False: it is not one that we asked for."""
        asked = self._asked.get(node)
        if asked is None or message.after_key != asked.after_key:
            return False
        self._context.merge(message.sessions, at)
        if self._is_ahead_of_us(message, at):
            # Passed over. Asked for again when the page is late: our clock may be right by then.
            return True
        if message.done:
            del self._asked[node]
            self.fetched.add(node)
        else:
            self._ask(node, message.next_key, at)
        return True

    def forget(self, node: bytes) -> None:
        """Begin anew with a peer when its connection is back."""
        self._asked.pop(node, None)
        self.fetched.discard(node)

    def handle_timer(self, at: Moment) -> None:
        """Ask again for pages that are late: a peer may have had no time, or we no space."""
        for node, asked in list(self._asked.items()):
            if asked.until_s <= at.now_s:
                self._ask(node, asked.after_key, at)

    def next_deadline(self) -> float:
        """Return when ``handle_timer`` has something to do."""
        return min((asked.until_s for asked in self._asked.values()), default=float("inf"))

    def _is_ahead_of_us(self, message: SnapshotPageMessage, at: Moment) -> bool:
        lead_ms_max = self._context.settings.stamp_lead_ms_max
        return any(
            too_far_ahead(highest_time(state), at.wall_ms, lead_ms_max)
            for _, state in message.sessions
        )

    def _ask(self, node: bytes, after_key: str, at: Moment) -> None:
        self._asked[node] = Asked(after_key, at.now_s + PAGE_TIMEOUT_S)
        self._context.send(node, SnapshotRequest(after_key, ends=True))
