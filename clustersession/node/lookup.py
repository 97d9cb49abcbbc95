"""Asks the peers for a session that is authentic but not here, before it counts as unknown."""

from dataclasses import dataclass, field

from clustersession.node.context import Context, Peer
from clustersession.node.effects import FetchAnswered
from clustersession.node.moment import Moment
from clustersession.wire.messages import Fetch, Fetched

LOOKUPS_MAX = 1024


@dataclass(slots=True)
class Lookup:
    """Is the search for one session.

    deadline_s: when it counts as not found. tokens: the answers that are owed.
    waiting: the peers that have not answered.
    lost: those of which the connection broke first; they are back, and asked again, or known to be
    dead, in a moment.
    """

    deadline_s: float
    tokens: list[int] = field(default_factory=list)
    waiting: set[bytes] = field(default_factory=set)
    lost: set[bytes] = field(default_factory=set)


class SessionLookup:
    """Fetches sessions on demand; requests for the same key share one question."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # By key, until it is answered; at most LOOKUPS_MAX.
        self._lookups: dict[str, Lookup] = {}

    def fetch(self, token: int, key: str, at: Moment) -> None:
        """Answer with FetchAnswered(token), within ``fetch_timeout_s``."""
        lookup = self._lookups.get(key)
        if lookup is None:
            if len(self._lookups) >= LOOKUPS_MAX:
                self._context.emit(FetchAnswered(token, False))
                return
            lookup = Lookup(at.now_s + self._context.settings.fetch_timeout_s)
            self._lookups[key] = lookup
            self._context.retimed.add(self)
            for peer in list(self._context.peers.values()):
                self._ask(peer, key, lookup)
        lookup.tokens.append(token)
        self._conclude_empty(key)

    def on_fetch(self, node: bytes, message: Fetch) -> None:
        """Send a peer that asks our copy as it stands, ended or not."""
        state = self._context.replica.get(message.key)
        if state is not None and not self._context.fits(message.key, state):
            state = None
        self._context.send(node, Fetched(message.key, state))

    def on_fetched(self, node: bytes, message: Fetched, at: Moment) -> None:
        """Keep what a peer answers, and answer who waits if that settles it."""
        if message.state is not None:
            self._context.replica.merge([(message.key, message.state)], at.wall_ms)
            self._answer(message.key, True)
            return
        lookup = self._lookups.get(message.key)
        if lookup is not None:
            lookup.waiting.discard(node)
            self._conclude_empty(message.key)

    def is_looking(self, key: str) -> bool:
        """Tell whether a request waits for that session."""
        return key in self._lookups

    def on_peer(self, peer: Peer) -> None:
        """Ask a peer that was just greeted: it may know what we are looking for."""
        for key, lookup in self._lookups.items():
            self._ask(peer, key, lookup)

    def forget(self, node: bytes) -> None:
        """Stop waiting for a node whose connection is gone."""
        for lookup in self._lookups.values():
            if node in lookup.waiting:
                lookup.waiting.remove(node)
                lookup.lost.add(node)
        self.settle()

    def settle(self) -> None:
        """Answer what nobody is left to answer."""
        for key in list(self._lookups):
            self._conclude_empty(key)

    def expire(self, at: Moment) -> None:
        """Give up lookups past their deadline, and those that nobody is left to answer."""
        for key, lookup in list(self._lookups.items()):
            if lookup.deadline_s <= at.now_s:
                self._answer(key, False)
        self.settle()

    def next_deadline(self) -> float:
        """Return when ``expire`` has something to do."""
        return min((look.deadline_s for look in self._lookups.values()), default=float("inf"))

    def _ask(self, peer: Peer, key: str, lookup: Lookup) -> None:
        if peer.node not in lookup.waiting and self._context.keeps(peer.node, key):
            lookup.waiting.add(peer.node)
            self._context.send(peer.node, Fetch(key))

    def _conclude_empty(self, key: str) -> None:
        lookup = self._lookups.get(key)
        if lookup is None or lookup.waiting or not self._context.discovered:
            return
        if not lookup.lost or lookup.lost.isdisjoint(self._context.unlinked()):
            self._answer(key, False)

    def _answer(self, key: str, found: bool) -> None:
        lookup = self._lookups.pop(key, None)
        self._context.retimed.add(self)
        for token in lookup.tokens if lookup is not None else ():
            self._context.emit(FetchAnswered(token, found))
