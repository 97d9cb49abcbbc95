"""Sends this node's feed: by multicast to those it reaches, and by TCP to the rest.

Every flush reads the feed from a peer's own cursor. Peers at the same place share one batch, and
those that hear our multicast share one datagram, so that the cost of a write does not grow with the
number of members.
"""

from collections import Counter
from collections.abc import Set
from dataclasses import replace

from clustersession.core.feed import Batch, Cursor
from clustersession.core.identity import Phase
from clustersession.node.confirmations import Confirmations
from clustersession.node.context import DATAGRAM_PAYLOAD_BYTES_MAX, Context, Peer
from clustersession.node.effects import Multicast, Send
from clustersession.node.heartbeat import HeartbeatSender
from clustersession.node.moment import Moment
from clustersession.node.news import TooLarge
from clustersession.wire.fields import MESSAGE_BYTES_MAX
from clustersession.wire.messages import Changes, Progress, encode_message

BATCH_BYTES_MAX = 256 * 1024
BATCH_DELTAS_MAX = 64
"""Whoever applies a batch does nothing else meanwhile: so many take about ``replica.turns.TURN_S``.
"""
DELTAS_PER_FLUSH_MAX = 64
"""Some 2 ms of work: a peer that is behind must hold up nobody who waits. The rest follows."""
DATAGRAM_FEED_BYTES_MAX = 1100
DATAGRAMS_PER_FLUSH_MAX = 32
MULTICAST_PEERS_MIN = 3
BACK_TO_MULTICAST_CHANGES = 32

Ready = tuple[Changes, bytes, Set[bytes]]
"""A batch, the same encoded, and the peers that do not keep everything in it: at present nobody."""


class Sender:
    """Streams our feed to every peer that asked for it."""

    def __init__(
        self, context: Context, confirmations: Confirmations, heartbeat: HeartbeatSender
    ) -> None:
        self._context = context
        self._confirmations = confirmations
        self._heartbeat = heartbeat
        # The feed's head at the last heartbeat interval and at the one before it. A peer that has
        # not confirmed the earlier one is behind: a heartbeat of it was due since.
        self._head_at_tick = 0
        self._head_before = 0
        # True while some peer may have been left without what was there for it: the last flush
        # stopped early, or failed.
        self._unfinished = False
        # When a flush goes on that was cut short; infinite after one that was not.
        self._goes_on_s = float("inf")

    def handle_timer(self, at: Moment) -> None:
        """Go on with a flush that was cut short, when others had their turn."""
        if at.now_s >= self._goes_on_s:
            self.flush(at)

    def next_deadline(self) -> float:
        """Return when ``handle_timer`` has something to do."""
        return self._goes_on_s

    def carrier(self) -> str:
        """Return how deltas travel at present, for the status."""
        return "multicast" if self._followers() else "tcp"

    def on_progress(self, peer: Peer, message: Progress, at: Moment) -> None:
        """Note how far a peer is, or where it wants to begin, and send it what follows."""
        if message.resume:
            self._confirmations.trust(peer.node)
            peer.progress.resume(message.cursor, provisional=message.provisional)
            self._context.view_is_stale = True
        else:
            peer.progress.confirmed_to(message.cursor)
        if self._unfinished or peer.progress.may_send(self._context.head):
            self.flush(at)
        self._confirmations.settle()

    def is_held(self) -> bool:
        """Tell whether a peer holds everything of ours, or none is likely to in time."""
        head = self._context.replica.head()
        peers = [p for p in self._context.peers.values() if not p.progress.lagging]
        return not head or not peers or any(p.progress.holds(head) for p in peers)

    def press(self, at: Moment) -> None:
        """Ask the peers how far they are, without anybody who waits for a write."""
        self._confirmations.ask(self._context.replica.head(), self._context.peers.values(), at)

    def tick(self) -> None:
        """Note the head, because a heartbeat interval has passed."""
        self._head_before, self._head_at_tick = self._head_at_tick, self._context.replica.head()

    def behind(self, peer: Peer) -> int:
        """Count the writes that a peer has not confirmed though a heartbeat of it was due since.

        While we drain, all that it has not confirmed.
        """
        drains = self._context.phase is Phase.DRAINING
        head = self._context.replica.head() if drains else self._head_before
        return max(0, head - peer.progress.confirmed.floor)

    def flush(self, at: Moment) -> None:
        """Send what the peers have not been sent yet."""
        context = self._context
        self._unfinished = True
        # Before anything can fail: a replica that fails must not be tried all the time.
        self._goes_on_s = float("inf")
        context.retimed.add(self)
        context.head = head = context.replica.head()
        following: set[bytes] = set()
        if followers := self._followers():
            following = {p.node for p in followers}
            # A datagram would overtake what is on its way by TCP, and be taken for a gap.
            abreast = [p for p in followers if not p.progress.awaits_confirmation]
            if abreast:
                self._multicast_from(abreast, head, at)
        batches: dict[tuple[Cursor, bool], Ready] = {}
        finished = True
        # Peers that are abreast come first, because workers wait for them and they cost little.
        for peer in sorted(context.peers.values(), key=_place, reverse=True):
            finished &= self._stream(peer, head, at, batches, follows=peer.node in following)
        self._unfinished = not finished
        self._goes_on_s = float("inf") if finished else at.now_s

    def _stream(
        self,
        peer: Peer,
        head: int,
        at: Moment,
        batches: dict[tuple[Cursor, bool], Ready],
        *,
        follows: bool,
    ) -> bool:
        """Send by TCP what a peer has not been sent; False: it is cut short, for others to come.

        ``batches`` are those of this flush. ``follows``: multicast reaches the peer.
        """
        progress = peer.progress
        while progress.may_send(head):
            cursor = progress.cursor
            assert cursor is not None
            behind = head - cursor.position
            if follows and progress.awaits_confirmation and behind <= BACK_TO_MULTICAST_CHANGES:
                # Nearly there: its confirmation, which flushes, brings it back to multicast.
                if not progress.asked:
                    self._confirmations.ask(cursor.floor, (peer,), at)
                break
            asks = follows or progress.is_half_full
            if (cursor, asks) not in batches:
                deltas = sum(len(changes.batch.deltas) for changes, *_ in batches.values())
                if deltas >= DELTAS_PER_FLUSH_MAX:
                    return False
                batches[cursor, asks] = self._batch(cursor, at, asks=asks)
            changes, data, lacking = batches[cursor, asks]
            if peer.node in lacking:
                changes, data = self._part(changes, peer.node)
            self._context.emit(Send(peer.node, data))
            asked = changes.confirmers is None or peer.node in changes.confirmers
            progress.sent(changes.batch, len(data), asked=asked)
            if progress.cursor == cursor:
                break
        return True

    def _batch(self, cursor: Cursor, at: Moment, *, asks: bool) -> Ready:
        """Read what comes after a cursor; ``asks``: whoever gets it is to confirm it at once."""
        feed = self._context.replica.feed
        batch = feed(cursor.floor, cursor.position, BATCH_BYTES_MAX, BATCH_DELTAS_MAX)
        if lacking := self._context.lacking(batch.deltas):
            self._confirmations.sent_in_part(batch, lacking)
        confirmers = self._confirmations.confirmers(batch, lacking, at) if batch.complete else None
        if asks:
            confirmers = None
        data = encode_message(changes := _changes(batch, confirmers))
        if len(data) > MESSAGE_BYTES_MAX:
            batch = feed(cursor.floor, cursor.position, 1)
            data = encode_message(changes := _changes(batch, None))
        if len(data) <= MESSAGE_BYTES_MAX:
            return changes, data, lacking
        # A single session that no peer would accept: the others must not wait for it for ever.
        for delta in batch.deltas:
            self._context.tell(TooLarge(delta.key))
        changes = _changes(replace(batch, deltas=()), None)
        return changes, encode_message(changes), frozenset()

    def _part(self, changes: Changes, node: bytes) -> tuple[Changes, bytes]:
        """Leave out what a peer keeps no copy of. Its cursor moves all the same."""
        keeps = self._context.keeps
        kept = tuple(d for d in changes.batch.deltas if keeps(node, d.key))
        part = replace(changes, batch=replace(changes.batch, deltas=kept))
        return part, encode_message(part)

    def _followers(self) -> list[Peer]:
        """Return the peers that multicast reaches, when they are many enough to be worth it."""
        context = self._context
        if not context.multicast or context.settings.carrier == "tcp":
            return []
        followers = [p for p in context.peers.values() if p.hears_us and p.progress.cursor]
        wanted = 1 if context.settings.carrier == "multicast" else MULTICAST_PEERS_MIN
        return followers if len(followers) >= wanted else []

    def _multicast_from(self, followers: list[Peer], head: int, at: Moment) -> None:
        places = Counter(p.progress.cursor for p in followers if p.progress.cursor is not None)
        cursor, _ = places.most_common(1)[0]
        abreast = [p for p in followers if p.progress.cursor == cursor]
        for _ in range(DATAGRAMS_PER_FLUSH_MAX):
            if cursor.position >= head and cursor.floor >= cursor.position:
                return
            batch = self._context.replica.feed(
                cursor.floor, cursor.position, DATAGRAM_FEED_BYTES_MAX
            )
            if self._context.lacking(batch.deltas):
                # A datagram goes to everybody: to each its part, by TCP.
                return
            confirmers: tuple[bytes, ...] | None = ()
            if batch.complete:
                confirmers = self._confirmations.confirmers(batch, frozenset(), at)
            data = encode_message(_changes(batch, confirmers))
            if len(data) > DATAGRAM_PAYLOAD_BYTES_MAX:
                return
            self._context.emit(Multicast(data))
            self._heartbeat.follow_datagram(batch.upto, at)
            for peer in abreast:
                peer.progress.sent(batch, len(data), expects_confirmation=False)
            after = abreast[0].progress.cursor
            if after is None or after == cursor:
                return
            cursor = after


def _changes(batch: Batch, confirmers: tuple[bytes, ...] | None) -> Changes:
    # A peer of an older version knows nothing of confirmers and goes by the flag.
    return Changes(batch, confirm=confirmers != (), confirmers=confirmers)


def _place(peer: Peer) -> int:
    return -1 if peer.progress.cursor is None else peer.progress.cursor.position
