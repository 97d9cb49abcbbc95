"""Compares digests with a peer now and then, and pulls what the streams missed.

It repairs a dead node's last writes that reached only some, copies fetched but not streamed, and
whatever a bug or a cosmic ray took away. The difference a stream is about to bring is left alone.

What stands in the buckets that differ is listed in slices, with pauses: neither side is held up for
long. A round that has repaired something is followed by the next one at once, over all that differs
then; otherwise much would take hours, and a difference that a stream brings would be listed again
and again.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clustersession.core.digest import BUCKETS, missing_here
from clustersession.core.identity import Phase
from clustersession.node.context import Context
from clustersession.node.moment import Moment
from clustersession.node.puller import Puller
from clustersession.wire.fields import LISTED_MAX, Entry
from clustersession.wire.messages import Digests, Listing

BUCKETS_PER_ROUND_MAX = 64
ROUND_ENTRIES = 8192
"""About how many sessions are listed in a round, as long as nothing was found to be missing."""
SLICE_ENTRIES = 128
"""To read, encode, decode and look up so many takes either side a millisecond or two."""
SLICE_PAUSE_S = 0.003
AFTER_LOSS_S = 0.1
AGAIN_S = 0.1


@dataclass(slots=True)
class Walk:
    """Holds what is still to be listed to one peer.

    buckets: in order, each with whether the peer is to list its own. after_key: the last session of
    the first bucket that was listed; empty at its beginning.
    """

    buckets: deque[tuple[int, bool]]
    after_key: str = ""

    def add(self, buckets: Iterable[int], *, answer: bool) -> None:
        """List more, but nothing twice."""
        known = set(self.buckets)
        self.buckets += [(one, answer) for one in buckets if (one, answer) not in known]


class AntiEntropy:
    """Runs a round with a random peer at intervals, and with every peer after a loss."""

    def __init__(self, context: Context, puller: Puller) -> None:
        self._context = context
        self._puller = puller
        # When the next round is due: an interval after the last, sooner after a loss.
        self._next_s = 0.0
        # Whether the next round is with every peer, because a member was lost.
        self._with_all = False
        # What is being listed, by peer; an entry has buckets. When the next slice is due.
        self._walks: dict[bytes, Walk] = {}
        self._slice_s = 0.0
        # Peers from which something was repaired since the last round with them: the next one is
        # with them, at once. And those whose next round is of that kind, and under way.
        self._again: set[bytes] = set()
        self._wide: set[bytes] = set()

    def start(self, at: Moment) -> None:
        """Plan the next round, one interval from now."""
        self._next_s = at.now_s + self._context.settings.repair_interval_s
        self._context.retimed.add(self)

    def after_loss(self, at: Moment) -> None:
        """Plan a round with every survivor at once, because a member is gone."""
        self._with_all = True
        self._next_s = min(self._next_s, at.now_s + AFTER_LOSS_S)
        self._context.retimed.add(self)

    def repaired(self, node: bytes, at: Moment) -> None:
        """Plan a round with a peer at once, because it had what was missing here."""
        self._again.add(node)
        self._next_s = min(self._next_s, at.now_s + AGAIN_S)
        self._context.retimed.add(self)

    def forget(self, node: bytes) -> None:
        """Forget a node whose connection is gone."""
        for table in (self._again, self._wide):
            table.discard(node)
        self._walks.pop(node, None)
        self._context.retimed.add(self)

    def next_deadline(self) -> float:
        """Return when the next round or slice is due."""
        return min(self._next_s, self._slice_s) if self._walks else self._next_s

    def handle_timer(self, at: Moment) -> None:
        """List the next slice, and begin a round, when they are due."""
        if self._walks and at.now_s >= self._slice_s:
            self._go_on(at)
        if at.now_s < self._next_s:
            return
        self.start(at)
        if self._context.phase is Phase.JOINING:
            # All that it lacks is on its way, and would be asked for once more.
            return
        settled = [p.node for p in self._context.peers.values() if p.settled]
        if not settled:
            return
        asked = settled
        if not self._with_all:
            asked = self._resting(at) if self._again else []
            asked = asked or [settled[self._context.choose(len(settled))]]
        self._with_all = False
        digest = Digests(root_of(self._context.replica.digests()), b"")
        for node in asked:
            self._context.send(node, digest)

    def _resting(self, at: Moment) -> list[bytes]:
        """Return who is to be compared with again and has nothing under way with us.

        The others are looked at again in a moment.
        """
        nodes = [
            node for node in sorted(self._again)
            if node not in self._walks and not self._puller.pending(node)
        ]
        self._again.difference_update(nodes)
        self._wide.update(nodes)
        if self._again:
            self._next_s = at.now_s + AGAIN_S
        return nodes

    def on_digests(self, node: bytes, message: Digests, at: Moment) -> None:
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
            chosen = differing[start:] + differing[:start]
            if node not in self._wide:
                chosen = chosen[: self._buckets_per_round()]
            self._wide.discard(node)
            self._list(node, chosen, at, answer=True)

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
        if wanted and len(self._puller.pending(node)) < LISTED_MAX:
            # Otherwise a later round has them, and the streams come first.
            self._puller.pull(node, wanted, at)
        if message.answer:
            self._list(node, message.buckets, at, answer=False)

    def _versions(self, key: str) -> Mapping[bytes, int]:
        state = self._context.replica.get(key)
        return {} if state is None else state.versions

    def _buckets_per_round(self) -> int:
        per_bucket = 1 + self._context.replica.stats().sessions // BUCKETS
        return max(1, min(BUCKETS_PER_ROUND_MAX, ROUND_ENTRIES // per_bucket))

    def _list(self, node: bytes, buckets: Iterable[int], at: Moment, *, answer: bool) -> None:
        """Begin to list buckets to a peer; ``answer``: it is to list its own."""
        walk = self._walks.get(node, Walk(deque()))
        walk.add((one for one in buckets if one < BUCKETS), answer=answer)
        if walk.buckets and node not in self._walks:
            self._walks[node] = walk
            self._go_on(at)

    def _go_on(self, at: Moment) -> None:
        """Send the next slice to the peer that has waited longest."""
        node = next(iter(self._walks))
        walk = self._walks.pop(node)
        self._context.send(node, self._slice(walk))
        if walk.buckets:
            self._walks[node] = walk
        self._slice_s = at.now_s + SLICE_PAUSE_S
        self._context.retimed.add(self)

    def _slice(self, walk: Walk) -> Listing:
        """List what comes next of a walk, and move it on.

        Only with the end of a bucket is the peer told to list its own, so that it does so once.
        """
        entries: list[Entry] = []
        listed: list[int] = []
        answer = walk.buckets[0][1]
        while walk.buckets and len(entries) < SLICE_ENTRIES and walk.buckets[0][1] is answer:
            bucket, _ = walk.buckets[0]
            room = SLICE_ENTRIES - len(entries)
            rows = self._context.replica.listing([bucket], room, walk.after_key)
            entries += [Entry(row.key, row.versions, row.expires_ms) for row in rows]
            if len(rows) == room:
                walk.after_key = rows[-1].key
                break
            walk.after_key = ""
            walk.buckets.popleft()
            listed.append(bucket)
        return Listing(tuple(listed), tuple(entries), answer and bool(listed))


def root_of(digests: bytes) -> int:
    """Return one digest of all buckets: their exclusive or, taken of two halves at a time."""
    whole, bits = int.from_bytes(digests, "big"), 8 * len(digests)
    while bits > 64:
        bits //= 2
        whole = (whole >> bits) ^ (whole & ((1 << bits) - 1))
    return whole
