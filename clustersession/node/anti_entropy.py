"""Compares digests with a peer now and then, and pulls what the streams missed.

It repairs a dead node's last writes that reached only some, copies fetched but not streamed, and
whatever a bug or a cosmic ray took away. The difference a stream is about to bring is left alone.
"""

from collections.abc import Mapping, Sequence

from clustersession.core.digest import BUCKETS, missing_here
from clustersession.node.context import Context
from clustersession.node.moment import Moment
from clustersession.node.puller import Puller
from clustersession.wire.fields import LISTED_MAX, Entry
from clustersession.wire.messages import Digests, Listing

BUCKETS_PER_ROUND_MAX = 64
AFTER_LOSS_S = 0.1


class AntiEntropy:
    """Runs a round with a random peer at intervals, and with every peer after a loss."""

    def __init__(self, context: Context, puller: Puller) -> None:
        self._context = context
        self._puller = puller
        # When the next round is due: an interval after the last, sooner after a loss.
        self._next_s = 0.0
        # Whether the next round is with every peer, because a member was lost.
        self._with_all = False

    def start(self, at: Moment) -> None:
        """Plan the next round, one interval from now."""
        self._next_s = at.now_s + self._context.settings.repair_interval_s
        self._context.retimed.add(self)

    def after_loss(self, at: Moment) -> None:
        """Plan a round with every survivor at once, because a member is gone."""
        self._with_all = True
        self._next_s = min(self._next_s, at.now_s + AFTER_LOSS_S)
        self._context.retimed.add(self)

    def next_deadline(self) -> float:
        """Return when the next round is due."""
        return self._next_s

    def handle_timer(self, at: Moment) -> None:
        """Begin a round when it is due."""
        if at.now_s < self._next_s:
            return
        self.start(at)
        settled = [p for p in self._context.peers.values() if p.settled]
        if not settled:
            return
        digest = Digests(root_of(self._context.replica.digests()), b"")
        if self._with_all:
            self._with_all = False
            for peer in settled:
                self._context.send(peer.node, digest)
        else:
            self._context.send(settled[self._context.choose(len(settled))].node, digest)

    def on_digests(self, node: bytes, message: Digests) -> None:
        """Answer a peer's digests with ours, or with a listing of the buckets that differ."""
        ours = self._context.replica.digests()
        root = root_of(ours)
        if root == message.root:
            return
        if len(message.buckets) != len(ours):
            self._context.send(node, Digests(root, ours))
            return
        differing = [
            bucket
            for bucket, at_byte in enumerate(range(0, 8 * BUCKETS, 8))
            if ours[at_byte : at_byte + 8] != message.buckets[at_byte : at_byte + 8]
        ]
        if differing:
            start = self._context.choose(len(differing))
            chosen = (differing[start:] + differing[:start])[:BUCKETS_PER_ROUND_MAX]
            self._context.send(node, self._listing(chosen, answer=True))

    def on_listing(self, node: bytes, message: Listing, at: Moment) -> None:
        """Take a peer's listing: ask for what we should have, and list ours if it wants that."""
        context = self._context
        floors = {n: cursor.floor for n, cursor in context.cursors.items()}
        live = frozenset(context.peers)
        wanted = [
            entry.key
            for entry in message.entries
            if entry.expires_ms > at.wall_ms
            and context.keeps(context.own.node, entry.key)
            and missing_here(entry.versions, self._versions(entry.key), floors, live)
        ]
        if len(self._puller.pending(node)) < LISTED_MAX:
            # Otherwise a later round has them, and the streams come first.
            self._puller.pull(node, wanted, at)
        if message.answer:
            context.send(node, self._listing(message.buckets, answer=False))

    def _versions(self, key: str) -> Mapping[bytes, int]:
        state = self._context.replica.get(key)
        return {} if state is None else state.versions

    def _listing(self, buckets: Sequence[int], *, answer: bool) -> Listing:
        """List as many whole buckets as fit, the first ones first: the next round has others."""
        entries: list[Entry] = []
        listed: list[int] = []
        for bucket in buckets:
            rows = self._context.replica.listing([bucket], LISTED_MAX - len(entries) + 1)
            if listed and len(entries) + len(rows) > LISTED_MAX:
                break
            listed.append(bucket)
            entries += [Entry(row.key, row.versions, row.expires_ms) for row in rows]
        return Listing(tuple(listed), tuple(entries[:LISTED_MAX]), answer)


def root_of(digests: bytes) -> int:
    """Return one digest of all buckets: their exclusive or, taken of two halves at a time."""
    whole, bits = int.from_bytes(digests, "big"), 8 * len(digests)
    while bits > 64:
        bits //= 2
        whole = (whole >> bits) ^ (whole & ((1 << bits) - 1))
    return whole
