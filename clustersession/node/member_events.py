"""Tells the engine's parts when a member comes, is suspected, or goes."""

from clustersession.core.membership import (
    MemberAdded,
    MemberLeft,
    MemberLost,
    MemberRefuted,
    MembershipEvent,
    MemberSuspected,
)
from clustersession.node.anti_entropy import AntiEntropy
from clustersession.node.confirmations import Confirmations
from clustersession.node.context import Context
from clustersession.node.dialing import Dialer
from clustersession.node.effects import Unlink
from clustersession.node.lookup import SessionLookup
from clustersession.node.member_list import MemberList
from clustersession.node.moment import Moment
from clustersession.node.probing import Prober


class MemberEvents:
    """Tells every event of the member table, and has the parts concerned do what follows."""

    def __init__(
        self,
        context: Context,
        dialer: Dialer,
        prober: Prober,
        anti_entropy: AntiEntropy,
        confirmations: Confirmations,
        lookup: SessionLookup,
        member_list: MemberList,
    ) -> None:
        self._context = context
        self._dialer = dialer
        self._prober = prober
        self._anti_entropy = anti_entropy
        self._confirmations = confirmations
        self._lookup = lookup
        self._member_list = member_list

    def tell(self, events: list[MembershipEvent], at: Moment) -> None:
        """Pass events on, in order."""
        if events:
            present = [member.identity.node for member in self._context.membership.present()]
            self._context.members = tuple(sorted([*present, self._context.own.node]))
        for event in events:
            self._context.tell(event)
            match event:
                case MemberSuspected():
                    if self._context.store is None:
                        self._prober.probe(event, at)
                case MemberLost(member):
                    self._member_list.gone(member.identity.node, at)
                    # Whoever asked us to probe it must not wait for an attempt nobody will count.
                    self._prober.vouch(member.identity.node, False)
                    self._anti_entropy.after_loss(at)
                    self._confirmations.settle()
                    self._lookup.settle()
                    self._dialer.heard_of(member.identity.address, at)
                    self._context.emit(Unlink(member.identity.node))
                case MemberLeft(member):
                    self._member_list.gone(member.identity.node, at)
                    self._confirmations.settle()
                    self._lookup.settle()
                case MemberAdded(member):
                    self._member_list.linked(member.identity, at)
                case MemberRefuted():
                    pass
                case _:
                    continue
            self._context.view_is_stale = True
