"""Asks the peers for a session that is authentic but not here, before it counts as unknown.

Or for a copy that contains writes which ours lacks. Peers are told what we hold, and answer with
their copy when it has more and is small. Of a large one they first tell the versions, and one peer
is asked for it: otherwise a request of a few bytes would have every peer send megabytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from clustersession.core.state import expires_ms
from clustersession.core.versions import covers, merge_versions
from clustersession.node.context import Context, Peer, copy_bytes_max
from clustersession.node.effects import FetchAnswered
from clustersession.node.moment import Moment
from clustersession.wire.messages import Fetch, Fetched

LOOKUPS_MAX = 1024
SMALL_COPY_BYTES_MAX = 12 * 1024
"""A copy up to here arrives as soon as its versions would: TCP's first window holds it."""


@dataclass(slots=True)
class Lookup:
    """Is the search for one session.

    deadline_s: when it counts as not found. tokens: the answers that are owed.
    wanted: the writes that the copy is to contain; none: any copy will do.
    joined: a request came since the peers were asked. waiting: those that have not answered.
    lost: those of which the connection broke first; they are back, and asked again, or known to be
    dead, in a moment.
    offers: what the large copies contain that peers have and we have not asked for.
    sender: the peer that was asked for its large copy; empty: none is under way.
    doubted: our copy would do, and is asked for because peers may have ended it: all are waited
    for. answered: some peer has.
    """

    deadline_s: float
    wanted: Mapping[bytes, int]
    tokens: list[int] = field(default_factory=list)
    waiting: set[bytes] = field(default_factory=set)
    lost: set[bytes] = field(default_factory=set)
    offers: dict[bytes, Mapping[bytes, int]] = field(default_factory=dict)
    joined: bool = False
    sender: bytes = b""
    doubted: bool = False
    answered: bool = False


class SessionLookup:
    """Fetches sessions on demand; requests for the same key share one question."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # By key, until it is answered; at most LOOKUPS_MAX.
        self._lookups: dict[str, Lookup] = {}

    def fetch(self, token: int, key: str, wanted: Mapping[bytes, int], at: Moment) -> None:
        """Answer with FetchAnswered(token), within ``fetch_timeout_s``.

        When nobody has a write that is wanted, as soon as all have said so.
        """
        lookup = self._lookups.get(key)
        if lookup is None:
            if len(self._lookups) >= LOOKUPS_MAX:
                self._context.emit(FetchAnswered(token, False))
                return
            deadline_s = at.now_s + self._context.settings.fetch_timeout_s
            lookup = Lookup(deadline_s, wanted)
            lookup.doubted = self._is_found(key, lookup, at.wall_ms)
            self._lookups[key] = lookup
            self._context.retimed.add(self)
            self._ask_all(key, lookup)
        else:
            lookup.joined = True
            lookup.wanted = merge_versions(lookup.wanted, wanted)
        lookup.tokens.append(token)
        self._conclude_empty(key)

    def on_fetch(self, node: bytes, message: Fetch) -> None:
        """Send a peer that asks our copy as it stands, ended or not, or say what it contains."""
        key, state = message.key, self._context.replica.get(message.key)
        if state is None or not self._context.fits(key, state):
            answer = Fetched(key, None)
        elif state.ended is not None:
            # A revocation ends a session without a change of its versions.
            answer = Fetched(key, state)
        elif copy_bytes_max(state) > message.bytes_max or (
            message.known is not None and covers(message.known, state.versions)
        ):
            answer = Fetched(key, None, state.versions)
        else:
            answer = Fetched(key, state)
        self._context.send(node, answer)

    def on_fetched(self, node: bytes, message: Fetched, at: Moment) -> None:
        """Keep what a peer answers, and answer who waits if that settles it."""
        key = message.key
        if message.state is not None:
            self._context.merge([(key, message.state)], at)
        lookup = self._lookups.get(key)
        if lookup is None:
            return
        lookup.waiting.discard(node)
        if lookup.sender == node:
            lookup.sender = b""
        lookup.answered = True
        if self._is_found(key, lookup, at.wall_ms) and not self._is_doubted(key, lookup):
            self._answer(key, True)
            return
        if message.state is None and message.versions is not None:
            lookup.offers[node] = message.versions
        self._take_offer(key, lookup)
        self._conclude_empty(key)

    def is_looking(self, key: str) -> bool:
        """Tell whether a request waits for that session."""
        return key in self._lookups

    def on_peer(self, peer: Peer) -> None:
        """Ask a peer that was just greeted: it may know what we are looking for."""
        for key, lookup in self._lookups.items():
            self._ask(peer, key, lookup)

    def forget(self, node: bytes) -> None:
        """Stop waiting for a node whose connection is gone."""
        for key, lookup in self._lookups.items():
            lookup.offers.pop(node, None)
            if node in lookup.waiting:
                lookup.waiting.remove(node)
                lookup.lost.add(node)
            if lookup.sender == node:
                lookup.sender = b""
                self._take_offer(key, lookup)
        self.settle()

    def settle(self) -> None:
        """Answer what nobody is left to answer."""
        for key in list(self._lookups):
            self._conclude_empty(key)

    def expire(self, at: Moment) -> None:
        """Give up lookups past their deadline, and those that nobody is left to answer."""
        for key, lookup in list(self._lookups.items()):
            if lookup.deadline_s <= at.now_s:
                self._answer(key, lookup.doubted and lookup.answered)
        self.settle()

    def next_deadline(self) -> float:
        """Return when ``expire`` has something to do."""
        return min((look.deadline_s for look in self._lookups.values()), default=float("inf"))

    def _ask(self, peer: Peer, key: str, lookup: Lookup) -> None:
        if peer.node not in lookup.waiting and self._context.keeps(peer.node, key):
            lookup.waiting.add(peer.node)
            self._context.send(peer.node, Fetch(key, self._known(key), SMALL_COPY_BYTES_MAX))

    def _ask_all(self, key: str, lookup: Lookup) -> None:
        lookup.joined = False
        for peer in list(self._context.peers.values()):
            self._ask(peer, key, lookup)

    def _known(self, key: str) -> Mapping[bytes, int] | None:
        state = self._context.replica.get(key)
        return None if state is None else state.versions

    def _is_found(self, key: str, lookup: Lookup, wall_ms: int) -> bool:
        """Tell whether our copy will do now: an answer, or the stream, may have brought it."""
        state = self._context.replica.get(key)
        if state is None or state.ended is not None:
            return state is not None
        return wall_ms <= expires_ms(state) and covers(state.versions, lookup.wanted)

    def _is_doubted(self, key: str, lookup: Lookup) -> bool:
        """Tell whether a peer that has not answered may know of an end that the others do not.

        As two nodes may that come back at the same time. Those that are not connected yet are not
        waited for.
        """
        state = self._context.replica.get(key)
        return lookup.doubted and bool(lookup.waiting) and state is not None and state.ended is None

    def _take_offer(self, key: str, lookup: Lookup) -> None:
        """Ask one peer for a copy that is large, if it has what we still lack."""
        known = self._known(key)
        while lookup.offers and not lookup.sender:
            node, versions = lookup.offers.popitem()
            if _has_what_is_missing(versions, known or {}, lookup.wanted):
                lookup.sender = node
                lookup.waiting.add(node)
                self._context.send(node, Fetch(key, known))

    def _conclude_empty(self, key: str) -> None:
        lookup = self._lookups.get(key)
        if lookup is None or lookup.waiting or not self._context.discovered:
            return
        if lookup.joined:
            # What a later request wants may have been written since they were asked, or all of it.
            self._ask_all(key, lookup)
            if lookup.waiting:
                return
        if not lookup.lost or lookup.lost.isdisjoint(self._context.unlinked()):
            self._answer(key, lookup.doubted and lookup.answered)

    def _answer(self, key: str, found: bool) -> None:
        lookup = self._lookups.pop(key, None)
        self._context.retimed.add(self)
        for token in lookup.tokens if lookup is not None else ():
            self._context.emit(FetchAnswered(token, found))


def _has_what_is_missing(
    offered: Mapping[bytes, int], known: Mapping[bytes, int], wanted: Mapping[bytes, int]
) -> bool:
    if not wanted:
        return not covers(known, offered)
    return any(known.get(node, 0) < min(seq, offered.get(node, 0)) for node, seq in wanted.items())
