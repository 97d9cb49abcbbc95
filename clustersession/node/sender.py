"""Our feed goes out: by multicast to those it reaches, by TCP to the rest; and who waits for it.

Every flush reads the feed from a peer's own cursor. Peers at the same place share one batch, and
those that hear our multicast share one datagram, so that the cost of a write does not grow with the
number of members.
"""

from collections import Counter
from dataclasses import dataclass, replace

from clustersession.core.feed import Cursor
from clustersession.node.context import Context, Peer
from clustersession.node.outputs import Acknowledged, Moment, Multicast, Send, TooLarge
from clustersession.wire.fields import MESSAGE_BYTES_MAX
from clustersession.wire.messages import Changes, Progress, encode_message

BATCH_BYTES_MAX = 256 * 1024
DELTAS_PER_FLUSH_MAX = 2000
"""Some 60 ms of work; a peer that begins anew must not hold up heartbeats and the others."""
DATAGRAM_PAYLOAD_BYTES_MAX = 1400
DATAGRAM_FEED_BYTES_MAX = 1100
DATAGRAMS_PER_FLUSH_MAX = 32
MULTICAST_PEERS_MIN = 3
BACK_TO_MULTICAST_CHANGES = 32
WAITERS_MAX = 10_000
NOT_CONFIRMED = -1


@dataclass(slots=True)
class Waiter:
    """A worker that waits until enough peers hold everything up to a place in our feed."""

    token: int
    seq: int
    all_peers: bool
    deadline_s: float


class Sender:
    """Streams our feed to every peer that asked for it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiters: dict[int, Waiter] = {}
        self._given_up: set[bytes] = set()
        self.multicast_head = 0
        self.multicast_sent_s = float("-inf")

    def carrier(self) -> str:
        """How deltas travel at present, for the status."""
        return "multicast" if self._followers() else "tcp"

    def on_progress(self, peer: Peer, message: Progress, at: Moment) -> None:
        """A peer told how far it is, or where to begin."""
        if message.resume:
            self._given_up.discard(peer.node)
            peer.progress.resume(message.cursor, provisional=message.provisional)
        else:
            peer.progress.confirmed_to(message.cursor)
        self.flush(at)
        self.settle()

    def wait(self, token: int, seq: int, *, all_peers: bool, deadline_s: float) -> None:
        """Answer with Acknowledged(token) when peers hold our feed up to ``seq``.

        At the deadline the answer is NOT_CONFIRMED.
        """
        if len(self._waiters) >= WAITERS_MAX:
            self._context.emit(Acknowledged(token, NOT_CONFIRMED))
            return
        self._waiters[token] = Waiter(token, seq, all_peers, deadline_s)

    def settle(self) -> None:
        """Answer every waiter whose condition holds."""
        if not self._waiters:
            return
        peers = self._context.peers.values()
        hopeful = [p for p in peers if not p.progress.lagging]
        discovered = self._context.discovered
        if not peers and self._context.unlinked() - self._given_up:
            # A link has just broken: the peer is back, or known to be dead, in a moment.
            return
        for waiter in list(self._waiters.values()):
            confirmations = sum(p.progress.holds(waiter.seq) for p in peers)
            wanted = len(peers) if waiter.all_peers else min(len(peers), 1)
            if confirmations >= wanted and (discovered or (wanted and not waiter.all_peers)):
                answer = confirmations
            elif not discovered or not all(p.progress.holds(waiter.seq) for p in hopeful):
                continue
            else:
                answer = NOT_CONFIRMED
            del self._waiters[waiter.token]
            self._context.emit(Acknowledged(waiter.token, answer))

    def expire(self, at: Moment) -> None:
        """Answer waiters past their deadline.

        Whoever let one wait in vain is not waited for again until it has caught up a little: a peer
        that is stuck costs one timeout and not one for every write.
        """
        for waiter in [w for w in self._waiters.values() if w.deadline_s <= at.now_s]:
            del self._waiters[waiter.token]
            self._context.emit(Acknowledged(waiter.token, NOT_CONFIRMED))
            self._given_up |= self._context.unlinked()
            for peer in self._context.peers.values():
                if not peer.progress.holds(waiter.seq):
                    peer.progress.lagging = True

    def next_deadline(self) -> float:
        """When ``expire`` has something to do."""
        return min((w.deadline_s for w in self._waiters.values()), default=float("inf"))

    def is_held(self) -> bool:
        """Whether a peer holds everything of ours, or none is likely to in time."""
        head = self._context.replica.head()
        peers = [p for p in self._context.peers.values() if not p.progress.lagging]
        return not head or not peers or any(p.progress.holds(head) for p in peers)

    def flush(self, at: Moment) -> None:
        """Send what the peers have not been sent yet."""
        context = self._context
        head = context.replica.head()
        followers = self._followers()
        following = {p.node for p in followers}
        # A datagram would overtake what is on its way by TCP, and be taken for a gap.
        abreast = [p for p in followers if not p.progress.awaits_confirmation]
        if abreast:
            self._multicast_from(abreast, head, at)
        batches: dict[Cursor, tuple[Changes, bytes]] = {}
        deltas = 0
        # Those who are abreast first: they are waited for, and cost little.
        for peer in sorted(context.peers.values(), key=_place, reverse=True):
            while peer.progress.may_send(head):
                cursor = peer.progress.cursor
                assert cursor is not None
                if (
                    peer.node in following
                    and peer.progress.awaits_confirmation
                    and head - cursor.position <= BACK_TO_MULTICAST_CHANGES
                ):
                    # Nearly there: its confirmation, which flushes, brings it back to multicast.
                    break
                if cursor not in batches:
                    if deltas >= DELTAS_PER_FLUSH_MAX:
                        # A confirmation, or the next heartbeat at the latest, flushes again.
                        break
                    batches[cursor] = self._batch(cursor)
                    deltas += len(batches[cursor][0].batch.deltas)
                changes, data = batches[cursor]
                context.emit(Send(peer.node, data))
                peer.progress.sent(changes.batch, len(data))
                if peer.progress.cursor == cursor:
                    break

    def _batch(self, cursor: Cursor) -> tuple[Changes, bytes]:
        feed = self._context.replica.feed
        batch = feed(cursor.floor, cursor.position, BATCH_BYTES_MAX)
        data = encode_message(changes := Changes(batch, confirm=True))
        if len(data) > MESSAGE_BYTES_MAX:
            batch = feed(cursor.floor, cursor.position, 1)
            data = encode_message(changes := Changes(batch, confirm=True))
        if len(data) <= MESSAGE_BYTES_MAX:
            return changes, data
        # A single session that no peer would accept: the others must not wait for it for ever.
        for delta in batch.deltas:
            self._context.emit(TooLarge(delta.key))
        changes = Changes(replace(batch, deltas=()), confirm=True)
        return changes, encode_message(changes)

    def _followers(self) -> list[Peer]:
        """Peers that multicast deltas reach, when they are many enough to be worth it."""
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
            data = encode_message(Changes(batch, confirm=self._context.settings.ack != "none"))
            if len(data) > DATAGRAM_PAYLOAD_BYTES_MAX:
                return
            self._context.emit(Multicast(data))
            self.multicast_head = batch.upto
            self.multicast_sent_s = at.now_s
            for peer in abreast:
                peer.progress.sent(batch, len(data), expects_confirmation=False)
            after = abreast[0].progress.cursor
            if after is None or after == cursor:
                return
            cursor = after


def _place(peer: Peer) -> int:
    return -1 if peer.progress.cursor is None else peer.progress.cursor.position
