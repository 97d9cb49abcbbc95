"""Answers workers when peers hold their writes, and has a peer say so at once.

When nobody waits, a peer's word comes with its next heartbeat. When somebody does, one peer is
asked to answer: with an answer from every member the price of a write would grow with the cluster.
Whoever is asked and does not answer soon is asked once more together with all others, and the
next one is asked from then on.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass, field

from clustersession.core.feed import Batch
from clustersession.core.identity import Phase
from clustersession.node.ahead import changes_ahead
from clustersession.node.context import Context, Peer
from clustersession.node.effects import Confirmed
from clustersession.node.moment import Moment
from clustersession.wire.messages import Changes, DirectAnswer

WAITERS_MAX = 10_000
NOT_CONFIRMED = -1
PATIENCE_S = 0.005
"""How long one peer alone is waited for: many round trips, and little in a request."""
PATIENCE_S_MAX = 0.1
PARTS_MAX = 1024


@dataclass(slots=True)
class Waiter:
    """Is a worker's wait until enough peers hold everything up to a place in our feed.

    token: names the answer. seq: the place in our feed.
    all_peers: every peer must hold it; otherwise one is enough.
    ends: it ends a session, so every member must hold it, and our own disk too.
    deadline_s: when the wait is over.
    keys: all sessions that were written; none when that is not known.
    ahead: the peers that were sent these ahead of the stream.
    asked_of: the peer that was asked alone; empty when nobody was, or everybody.
    ask_s: when everybody is asked; infinite as long as nobody was.
    patience_s: how long is waited after the next question; it doubles with each.
    """

    token: int
    seq: int
    all_peers: bool
    deadline_s: float
    ends: bool = False
    keys: Sequence[str] = ()
    ahead: list[Peer] = field(default_factory=list)
    asked_of: bytes = b""
    ask_s: float = float("inf")
    patience_s: float = PATIENCE_S

    def asked(self, node: bytes, now_s: float) -> None:
        """Note that somebody was asked; the next time it takes longer until everybody is."""
        self.asked_of = node
        self.ask_s = now_s + min(self.patience_s, max(self.deadline_s - now_s, 0.0) / 2)
        self.patience_s = min(2 * self.patience_s, PATIENCE_S_MAX)


class Confirmations:
    """Answers workers whose writes peers have confirmed, and sees to it that peers do."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # By token, who has not been answered; at most WAITERS_MAX.
        self._waiters: dict[int, Waiter] = {}
        # Those who began to wait since ``send_ahead``.
        self._new: list[Waiter] = []
        # Members without a link that somebody waited for in vain; nobody waits for them again
        # before they begin a stream. Others whose link has just broken are expected back.
        self._given_up: set[bytes] = set()
        # The peer that is asked first: the same as long as it answers in time. Empty before anybody
        # was able to.
        self._confirmer = b""
        # After where and up to where a batch took our feed of which some peers kept only a part,
        # and those peers; the newest PARTS_MAX. Empty while all members keep everything.
        self._parts: deque[tuple[int, int, Set[bytes]]] = deque(maxlen=PARTS_MAX)

    def confirm(
        self, token: int, seq: int, *, all_peers: bool, deadline_s: float, ends: bool = False,
        keys: Sequence[str] = (),
    ) -> None:
        """Answer with Confirmed(token) when peers hold our feed up to ``seq``.

        ``ends``: sessions end there, so that all of them must, and our disk. At the deadline the
        answer is NOT_CONFIRMED. ``keys``: all sessions that were written, if that is known.
        """
        if len(self._waiters) >= WAITERS_MAX:
            self._context.emit(Confirmed(token, NOT_CONFIRMED))
            return
        ends = ends and self._context.journal.is_kept
        if ends:
            self._context.journal.want(seq)
        waiter = Waiter(token, seq, all_peers or ends, deadline_s, ends, keys)
        self._waiters[token] = waiter
        self._new.append(waiter)
        self._context.retimed.add(self)

    def send_ahead(self, at: Moment) -> None:
        """Send what somebody has begun to wait for past what is queued for the peer before it."""
        new, self._new = self._new, []
        for waiter in new:
            if node := self._send_ahead(waiter):
                waiter.asked(node, at.now_s)
                self._context.retimed.add(self)

    def _send_ahead(self, waiter: Waiter) -> bytes:
        """Send a write to the next peer that would otherwise get it late; return it, if any.

        Not for those who wait for all: whoever is last is waited for. Nor does it say of an end
        that it is on the disk. A store has a queue of its own.
        """
        if not waiter.keys or waiter.all_peers or self._context.store is not None:
            return b""
        peer = next((p for p in self.in_order() if self._is_late(p, waiter)), None)
        if peer is None:
            return b""
        message = changes_ahead(self._context, waiter.token, waiter.seq, waiter.keys)
        if message is None:
            return b""
        waiter.ahead.append(peer)
        self._context.send(peer.node, message)
        return peer.node

    def _is_late(self, peer: Peer, waiter: Waiter) -> bool:
        keeps = self._context.keeps
        return (
            peer.progress.is_far_from(waiter.seq) and not any(peer is p for p in waiter.ahead)
            and all(keeps(peer.node, key) for key in waiter.keys)
        )

    def on_answer(self, peer: Peer, message: DirectAnswer) -> None:
        """Note whether a peer has taken what was sent ahead; another one is asked if it has not."""
        waiter = self._waiters.get(message.number)
        if (
            waiter is None or message.asker != self._context.own.node
            or not any(peer is p for p in waiter.ahead)
        ):
            return
        if not message.taken:
            self._send_ahead(waiter)
            return
        del self._waiters[waiter.token]
        self._context.retimed.add(self)
        self._context.emit(Confirmed(waiter.token, 1))

    def sent_in_part(self, batch: Batch, lacking: Set[bytes]) -> None:
        """Note peers that keep only a part of a batch: their word does not count for what is in it.
        """
        self._parts.append((batch.after, batch.upto, lacking))

    def confirmers(
        self, batch: Batch, lacking: Set[bytes], at: Moment
    ) -> tuple[bytes, ...] | None:
        """Return who is to confirm a batch that reaches the head of the feed; None: everybody.

        ``lacking``: who keeps only a part of it. While we drain, somebody waits until everybody
        holds everything.
        """
        waiting = [w for w in self._waiters.values() if batch.floor < w.seq <= batch.upto]
        drains = self._context.phase is Phase.DRAINING
        if not waiting:
            return None if drains else ()
        first = None if drains or any(w.all_peers for w in waiting) else self._first(lacking)
        self._context.retimed.add(self)
        for waiter in waiting:
            if waiter.ask_s == float("inf"):
                waiter.asked(b"" if first is None else first.node, at.now_s)
        if first is None or len(self._context.peers) == 1:
            return None
        # Who was too slow before is trusted again when it has confirmed something.
        lagging = (p.node for p in self._context.peers.values() if p.progress.lagging)
        return (first.node, *lagging)

    def in_order(self) -> list[Peer]:
        """Return the peers that can confirm, the one that is asked first and then by node id."""
        first = self._first(frozenset())
        able = sorted((p for p in self._context.peers.values() if _able(p)), key=_node)
        return able if first is None else sorted(able, key=lambda p: p.node < first.node)

    def ask_for_the_sent(self, at: Moment) -> None:
        """Ask on behalf of those who began to wait when their write was on its way already."""
        unasked = [w for w in self._waiters.values() if w.ask_s == float("inf")]
        if not unasked:
            return
        self._context.retimed.add(self)
        for waiter in unasked:
            first = self._first(self._lacking(waiter.seq))
            if first is not None and not waiter.all_peers and self.ask(waiter.seq, [first], at):
                waiter.asked(first.node, at.now_s)
            elif self.ask(waiter.seq, self._keepers(waiter.seq), at):
                waiter.asked(b"", at.now_s)

    def ask(self, seq: int, peers: Iterable[Peer], at: Moment) -> bool:
        """Have those who were sent everything up to ``seq`` say how far they are, if need be.

        True when any was sent it. A batch that contains nothing is answered like any other.
        """
        question = Batch(self._context.own.node, 0, 0, 0, 0, ())
        sent = False
        for peer in peers:
            cursor = peer.progress.cursor
            if cursor is None or cursor.floor < seq:
                continue
            sent = True
            lately = seq <= peer.asked_seq and at.now_s - peer.asked_s < PATIENCE_S
            if not lately and not peer.progress.holds(seq):
                peer.asked_s, peer.asked_seq = at.now_s, cursor.floor
                self._context.send(peer.node, Changes(question, confirm=True))
        return sent

    def settle(self) -> None:
        """Answer every waiter whose condition holds."""
        if not self._waiters:
            return
        everybody = self._context.peers.values()
        discovered = self._context.discovered
        unlinked = self._context.unlinked() - self._given_up
        if not everybody and unlinked:
            # A link has just broken: the peer is back, or known to be dead, in a moment.
            return
        for waiter in list(self._waiters.values()):
            peers = self._keepers(waiter.seq) if self._parts else everybody
            if waiter.ends and (unlinked or not self._is_synced(waiter.seq)):
                continue
            missing = [p for p in peers if not p.progress.holds(waiter.seq)]
            confirmations = len(peers) - len(missing)
            wanted = len(peers) if waiter.all_peers else min(len(peers), 1)
            if confirmations >= wanted and (discovered or (wanted and not waiter.all_peers)):
                away = self._context.store is not None and not peers
                answer = NOT_CONFIRMED if away else confirmations
            elif not discovered or not all(_fails(p, waiter.seq) for p in missing):
                continue
            else:
                answer = NOT_CONFIRMED
            del self._waiters[waiter.token]
            self._context.retimed.add(self)
            self._context.emit(Confirmed(waiter.token, answer))

    def _is_synced(self, seq: int) -> bool:
        journal = self._context.journal
        return journal.own_synced >= seq or not journal.works

    def expire(self, at: Moment) -> None:
        """Answer waiters past their deadline; ask everybody for those who wait too long.

        Whoever let one wait in vain is not waited for again until it has caught up a little: a peer
        that is stuck costs one timeout and not one for every write.
        """
        if not self._waiters:
            return
        self._context.retimed.add(self)
        for waiter in [w for w in self._waiters.values() if w.deadline_s <= at.now_s]:
            del self._waiters[waiter.token]
            self._context.emit(Confirmed(waiter.token, NOT_CONFIRMED))
            self._given_up |= self._context.unlinked()
            for peer in self._keepers(waiter.seq):
                if not peer.progress.holds(waiter.seq):
                    peer.progress.lagging = True
                    self._context.view_is_stale = True
        for waiter in [w for w in self._waiters.values() if w.ask_s <= at.now_s]:
            if waiter.asked_of and waiter.asked_of == self._confirmer:
                self._next_first(self._lacking(waiter.seq))
            waiter.asked(b"", at.now_s)
            self.ask(waiter.seq, self._keepers(waiter.seq), at)
            self._send_ahead(waiter)

    def trust(self, node: bytes) -> None:
        """Wait again for a peer that begins its stream anew."""
        self._given_up.discard(node)

    def next_deadline(self) -> float:
        """Return when ``expire`` has something to do."""
        if not self._waiters:
            return float("inf")
        return min([min(w.deadline_s, w.ask_s) for w in self._waiters.values()])

    def _lacking(self, seq: int) -> Set[bytes]:
        """Return who keeps only a part of what went out with a place in our feed.

        Of several batches with that place in them, the first was for those who are abreast, and
        has the least besides.
        """
        parts = self._parts
        return next((nodes for after, upto, nodes in parts if after < seq <= upto), frozenset())

    def _keepers(self, seq: int) -> Collection[Peer]:
        """Return the peers whose word counts for a place in our feed."""
        lacking = self._lacking(seq)
        return [p for p in self._context.peers.values() if p.node not in lacking]

    def _first(self, lacking: Set[bytes]) -> Peer | None:
        """Return the peer that is asked first: the same one as long as it answers in time."""
        peer = self._context.peers.get(self._confirmer)
        if peer is None or peer.node in lacking or not _able(peer):
            self._next_first(lacking)
            peer = self._context.peers.get(self._confirmer)
        return peer

    def _next_first(self, lacking: Set[bytes]) -> None:
        peers = self._context.peers.values()
        able = sorted(p.node for p in peers if p.node not in lacking and _able(p))
        # From our own id on, so that not every node of the cluster asks the same one.
        place = self._confirmer or self._context.own.node
        self._confirmer = next((node for node in able if node > place), able[0] if able else b"")


def _fails(peer: Peer, seq: int) -> bool:
    """Tell whether a peer would be waited for in vain."""
    return peer.progress.lagging or peer.progress.is_refused(seq)


def _node(peer: Peer) -> bytes:
    return peer.node


def _able(peer: Peer) -> bool:
    return peer.settled and peer.progress.cursor is not None and not peer.progress.lagging
