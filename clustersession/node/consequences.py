"""What follows when a member comes, is suspected, or goes."""

from clustersession.core.membership import (
    MemberAdded,
    MemberLeft,
    MemberLost,
    MemberRefuted,
    MembershipEvent,
    MemberSuspected,
)
from clustersession.node.contacts import Contacts
from clustersession.node.context import Context
from clustersession.node.finder import Finder
from clustersession.node.outputs import MembersChanged, Moment, Unlink
from clustersession.node.repairer import Repairer
from clustersession.node.waiters import Waiters


class Consequences:
    """Tells the driver and the parts concerned of every event of the member table."""

    def __init__(
        self,
        context: Context,
        contacts: Contacts,
        repairer: Repairer,
        waiters: Waiters,
        finder: Finder,
    ) -> None:
        self._context = context
        self._contacts = contacts
        self._repairer = repairer
        self._waiters = waiters
        self._finder = finder

    def tell(self, events: list[MembershipEvent], at: Moment) -> None:
        """Pass events on, in order."""
        for event in events:
            self._context.emit(event)
            match event:
                case MemberSuspected():
                    self._contacts.probe(event, at)
                case MemberLost(member):
                    # Whoever asked us to probe it must not wait for an attempt nobody will count.
                    self._contacts.vouch(member.identity.node, False)
                    self._repairer.after_loss(at)
                    self._waiters.settle()
                    self._finder.settle()
                    self._contacts.heard_of(member.identity.address, at)
                    self._context.emit(Unlink(member.identity.node))
                case MemberLeft():
                    self._waiters.settle()
                    self._finder.settle()
                case MemberAdded() | MemberRefuted():
                    pass
                case _:
                    continue
            self._context.emit(MembersChanged())
