"""Dials the addresses that this node hears of, a few at a time, until somebody answers there."""

from collections import Counter
from dataclasses import dataclass
from zlib import crc32

from clustersession.core.identity import Address, Identity
from clustersession.core.membership import FORGET_AFTER_S, Member
from clustersession.node.context import Context, Peer
from clustersession.node.effects import Dial
from clustersession.node.moment import Moment

RETRY_S_MIN = 0.25
RETRY_S_MAX = 5.0
ADDRESSES_MAX = 512
DIALS_MAX = 4
"""How many attempts are under way at a time. A handshake costs both ends milliseconds, and where
many nodes start at once on few processors, more of them only time each other out."""
PROBES_MAX = 16
"""How many are besides, to members that are suspected: an answer saves one from being buried."""
TURN_S = 0.25
TURN_S_EACH = 0.02
"""How long the one of two nodes waits for the other to dial it; longer the more addresses are
sought, as the other has no fewer to dial."""
JITTER_STEPS = 1024


@dataclass(slots=True)
class Attempt:
    """Is an address that is dialled, or will be.

    under_way: the driver has been asked to connect and has not said what came of it.
    is_probe: the attempt under way is to a member that is suspected.
    tried: one has failed.
    next_s: when it is dialled again at the earliest; of no meaning while it is under way.
    pause_s: how long to wait after the next failure; it doubles with each, up to RETRY_S_MAX.
    wanted_until_s: when to give the address up; infinite for a seed, in the past for a node that
    has said goodbye.
    start, heard_s: which life of a node has said last that it listens there, and when it did.
    """

    under_way: bool = False
    is_probe: bool = False
    tried: bool = False
    next_s: float = 0.0
    pause_s: float = RETRY_S_MIN
    wanted_until_s: float = float("inf")
    start: tuple[bytes, int] = (b"", 0)
    heard_s: float = float("-inf")

    def note_heard(self, identity: Identity, now_s: float, silence_s: float) -> None:
        """Note that somebody says that he listens there.

        That is a reason to try sooner only when he has begun anew, or could not be heard before:
        else each heartbeat of a node that is too busy to answer would bring it another attempt.
        """
        start = identity.node, identity.start
        if self.tried and (start != self.start or now_s - self.heard_s > silence_s):
            self.pause_s, self.next_s = RETRY_S_MIN, min(self.next_s, now_s)
        self.start, self.heard_s = start, now_s


class Dialer:
    """Dials addresses until somebody we know answers there."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # The addresses that are sought. One goes when somebody answers there, and when it is not
        # wanted any more or linked by the time that it would be dialled again.
        self._attempts: dict[Address, Attempt] = {}
        # What the setting says, as it resolved last.
        self._seeds: frozenset[Address] = frozenset()
        # Which node answered at an address that we dialled; it may call itself by another.
        self._answered_by: dict[Address, bytes] = {}
        # Addresses that lead to ourselves and are not dialled: the one that we tell, and those at
        # which we answered ourselves.
        self._own: set[Address] = {context.own.address}
        # How many peers listen at an address, as they say; no entry is 0.
        self._peers_at: Counter[Address] = Counter()

    def seeds(self, addresses: frozenset[Address], at: Moment) -> None:
        """Dial the seeds, as they resolve now, for ever; and former ones for an hour."""
        for address in self._seeds - addresses:
            # Where names change all day, addresses of the past would fill the table.
            attempt = self._attempts.get(address)
            if attempt is not None:
                attempt.wanted_until_s = at.now_s + FORGET_AFTER_S
        self._seeds = addresses
        for address in sorted(addresses):
            self.heard_of(address, at)

    def untried(self) -> bool:
        """Tell whether some address has not yet answered or failed for the first time."""
        return any(
            (attempt.under_way or not attempt.tried) and not self._linked(address)
            for address, attempt in self._attempts.items()
        )

    def heard_of(self, address: Address, at: Moment, *, identity: Identity | None = None) -> None:
        """Dial where somebody may be listening; ``identity``: who has just said so himself."""
        if self._context.store is not None or address in self._own or self._linked(address):
            return
        attempt = self._attempts.get(address)
        if attempt is None:
            if len(self._attempts) >= ADDRESSES_MAX:
                return
            attempt = Attempt(next_s=at.now_s + self._turn_s(address))
            self._attempts[address] = attempt
        attempt.wanted_until_s = (
            float("inf") if address in self._seeds else at.now_s + FORGET_AFTER_S
        )
        if identity is not None:
            attempt.note_heard(identity, at.now_s, self._context.settings.drop_time_s)
        self._context.retimed.add(self)
        if not attempt.under_way and attempt.next_s <= at.now_s:
            self._dial_due(at)

    def dial_now(self, address: Address, at: Moment) -> None:
        """Try an address whatever is known of it, because a member there is suspected."""
        attempt = self._attempts.setdefault(address, Attempt())
        attempt.wanted_until_s = at.now_s + FORGET_AFTER_S
        self._context.retimed.add(self)
        if not attempt.under_way and self._under_way(probes=True) < PROBES_MAX:
            attempt.is_probe = True
            self._dial(address, attempt)

    def linked(self, peer: Peer) -> None:
        """Note that a node is linked: where it says that it listens, nobody else is sought."""
        self._peers_at[peer.address] += 1
        self._context.retimed.add(self)

    def unlinked(self, peer: Peer) -> None:
        """Note that it is not any more."""
        self._peers_at[peer.address] -= 1
        if not self._peers_at[peer.address]:
            del self._peers_at[peer.address]

    def answered(self, address: Address, node: bytes) -> None:
        """Note that a node answered where we dialled; it may have been ourselves."""
        self._attempts.pop(address, None)
        self._context.retimed.add(self)
        if len(self._answered_by) >= ADDRESSES_MAX:
            self._answered_by.clear()
        # It may call itself by another address than the one that led to it.
        self._answered_by[address] = node
        if node == self._context.own.node and len(self._own) < ADDRESSES_MAX:
            self._own.add(address)

    def failed(self, address: Address, at: Moment) -> Member | None:
        """Wait before the next attempt, as one failed; return the member known to listen there."""
        attempt = self._attempts.get(address)
        if attempt is not None:
            attempt.under_way = attempt.is_probe = False
            attempt.tried = True
            attempt.next_s = at.now_s + self._jittered_s(attempt.pause_s)
            attempt.pause_s = min(2 * attempt.pause_s, RETRY_S_MAX)
            self._context.retimed.add(self)
        return self._context.membership.at(address)

    def forget(self, address: Address) -> None:
        """Stop dialling a member that left on purpose, unless it is a seed."""
        attempt = self._attempts.get(address)
        if attempt is not None and address not in self._seeds:
            # Not dropped: one that is under way must be remembered, or there would be a second.
            attempt.wanted_until_s = float("-inf")

    def handle_timer(self, at: Moment) -> None:
        """Make the attempts that are due."""
        for address in sorted(self._seeds - self._attempts.keys()):
            self.heard_of(address, at)
        self._dial_due(at)

    def next_deadline(self) -> float:
        """Return when the next attempt is due; while as many as may be are under way, never."""
        if self._under_way(probes=False) >= DIALS_MAX:
            return float("inf")
        return min(
            (a.next_s for a in self._attempts.values() if not a.under_way), default=float("inf")
        )

    def _dial_due(self, at: Moment) -> None:
        for address, attempt in list(self._attempts.items()):
            is_over = attempt.wanted_until_s < at.now_s or self._linked(address)
            if not attempt.under_way and attempt.next_s <= at.now_s and (
                is_over or address in self._own
            ):
                del self._attempts[address]
                self._context.retimed.add(self)
        due = [
            address for address, attempt in self._attempts.items()
            if not attempt.under_way and attempt.next_s <= at.now_s
        ]
        for _ in range(min(len(due), DIALS_MAX - self._under_way(probes=False))):
            # Any of them: nodes that start together hear of the same ones in the same order.
            address = due.pop(self._context.choose(len(due)))
            self._dial(address, self._attempts[address])

    def _under_way(self, *, probes: bool) -> int:
        return sum(a.under_way and a.is_probe is probes for a in self._attempts.values())

    def _dial(self, address: Address, attempt: Attempt) -> None:
        attempt.under_way = True
        self._context.retimed.add(self)
        self._context.emit(Dial(address))

    def _turn_s(self, address: Address) -> float:
        """Return how long the node at an address is given to dial us first: 0 for every second one.

        Two nodes that hear of each other would else dial at the same time. Both know both
        addresses, and with a digest of them each node has about half of the others to dial. A seed
        need not know of us.
        """
        if address in self._seeds:
            return 0.0
        own = self._context.own.address
        first, second = sorted((own, address))
        if (own == first) is bool(crc32(f"{first} {second}".encode()) & 1):
            return 0.0
        return self._jittered_s(TURN_S + TURN_S_EACH * len(self._attempts))

    def _jittered_s(self, pause_s: float) -> float:
        """Shorten a pause by up to a half, so that nodes that began together do not stay so."""
        return pause_s * (1 - self._context.choose(JITTER_STEPS) / (2 * JITTER_STEPS))

    def _linked(self, address: Address) -> bool:
        return address in self._peers_at or self._answered_by.get(address) in self._context.peers
