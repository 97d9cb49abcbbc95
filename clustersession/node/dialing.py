"""Dials the addresses that this node hears of, until somebody answers there."""

from dataclasses import dataclass

from clustersession.core.identity import Address
from clustersession.core.membership import FORGET_AFTER_S, Member
from clustersession.node.context import Context
from clustersession.node.effects import Dial
from clustersession.node.moment import Moment

RETRY_S_MIN = 0.25
RETRY_S_MAX = 5.0
ADDRESSES_MAX = 512


@dataclass(slots=True)
class Attempt:
    """Is an address that is dialled, or will be again.

    under_way: the driver has been asked to connect and has not said what came of it.
    next_s: when it is dialled again at the earliest; of no meaning while it is under way.
    pause_s: how long to wait after the next failure; it doubles with each, up to RETRY_S_MAX.
    wanted_until_s: when to give the address up; infinite for a seed, in the past for a node that
    has said goodbye.
    """

    under_way: bool = False
    next_s: float = 0.0
    pause_s: float = RETRY_S_MIN
    wanted_until_s: float = float("inf")


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

    def seeds(self, addresses: frozenset[Address], at: Moment) -> None:
        """Dial the seeds, as they resolve now, for ever; and former ones for an hour."""
        for address in self._seeds - addresses:
            # Where names change all day, addresses of the past would fill the table.
            attempt = self._attempts.get(address)
            if attempt is not None:
                attempt.wanted_until_s = at.now_s + FORGET_AFTER_S
        self._seeds = addresses
        for address in addresses:
            self.heard_of(address, at)

    def untried(self) -> bool:
        """Tell whether some address has not yet answered or failed for the first time."""
        return any(attempt.under_way for attempt in self._attempts.values())

    def heard_of(self, address: Address, at: Moment, *, fresh: bool = False) -> None:
        """Dial where somebody may be listening; ``fresh`` when it has just said so itself."""
        if self._context.store is not None or address in self._own or self._linked(address):
            return
        attempt = self._attempts.get(address)
        if attempt is None:
            if len(self._attempts) >= ADDRESSES_MAX:
                return
            attempt = self._attempts[address] = Attempt()
            self._context.retimed.add(self)
        attempt.wanted_until_s = (
            float("inf") if address in self._seeds else at.now_s + FORGET_AFTER_S
        )
        if fresh and attempt.pause_s > RETRY_S_MIN:
            attempt.pause_s, attempt.next_s = RETRY_S_MIN, at.now_s
            self._context.retimed.add(self)
        if not attempt.under_way and attempt.next_s <= at.now_s:
            self._dial(address, attempt)

    def dial_now(self, address: Address, at: Moment) -> None:
        """Try an address whatever is known of it, because a member there is suspected."""
        attempt = self._attempts.setdefault(address, Attempt())
        attempt.wanted_until_s = at.now_s + FORGET_AFTER_S
        if not attempt.under_way:
            self._dial(address, attempt)

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
            attempt.under_way = False
            attempt.next_s = at.now_s + attempt.pause_s
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
        """Repeat attempts that are due."""
        for address, attempt in list(self._attempts.items()):
            if attempt.under_way or attempt.next_s > at.now_s:
                continue
            if attempt.wanted_until_s < at.now_s or self._linked(address) or address in self._own:
                del self._attempts[address]
                self._context.retimed.add(self)
            else:
                self._dial(address, attempt)
        for address in sorted(self._seeds - self._attempts.keys()):
            self.heard_of(address, at)

    def next_deadline(self) -> float:
        """Return when the next attempt is due."""
        return min(
            (a.next_s for a in self._attempts.values() if not a.under_way), default=float("inf")
        )

    def _dial(self, address: Address, attempt: Attempt) -> None:
        attempt.under_way = True
        self._context.retimed.add(self)
        self._context.emit(Dial(address))

    def _linked(self, address: Address) -> bool:
        peers = self._context.peers
        return self._answered_by.get(address) in peers or any(
            peer.address == address for peer in peers.values()
        )
