"""Probes a suspected member directly and through others, as in SWIM.

After Das, Gupta, Motivala 2002: a member that we do not reach may be there for others, so several
of them are asked before it is taken for dead.
"""

from clustersession.core.identity import Identity
from clustersession.core.membership import Member, MembershipEvent, MemberSuspected, Status
from clustersession.node.context import Context
from clustersession.node.dialing import Dialer
from clustersession.node.moment import Moment
from clustersession.node.news import SelfUnreachable, Unreachable
from clustersession.wire.messages import Ping, ProbeReply, ProbeRequest

HELPERS_MAX = 3


class Prober:
    """Probes suspects, for ourselves and for others who ask."""

    def __init__(self, context: Context, dialer: Dialer) -> None:
        self._context = context
        self._dialer = dialer
        # By member: who asked us whether it is there, and has not been answered. An entry goes when
        # we know; only present members have one.
        self._requesters: dict[bytes, set[bytes]] = {}
        # How many pings were sent; the number of the last one.
        self._pings = 0

    def probe(self, event: MemberSuspected, at: Moment) -> None:
        """Probe a suspected member, directly and through others."""
        self._probe_directly(event.member, at)
        self._probe_through_others(event.member)

    def probe_again(self, at: Moment) -> None:
        """Probe once per heartbeat interval, as long as somebody is suspected."""
        for member in self._context.membership.present():
            if member.status is Status.SUSPECT:
                self._probe_directly(member, at)
                if not member.asked:
                    self._probe_through_others(member)

    def on_request(self, requester: bytes, message: ProbeRequest, at: Moment) -> None:
        """Probe a member for somebody else; the answer follows when it is known."""
        member = self._context.membership.get(message.target)
        if member is None or not member.present:
            self._context.send(requester, ProbeReply(message.target, False))
            return
        self._requesters.setdefault(message.target, set()).add(requester)
        self._probe_directly(member, at)

    def on_reply(self, helper: bytes, message: ProbeReply, at: Moment) -> list[MembershipEvent]:
        """Take a member's word that it reaches another, or, unasked that it does not reach us."""
        own = self._context.own
        if message.target == own.node and not message.alive:
            self._context.tell(SelfUnreachable(helper, own.address))
            return []
        return self._context.membership.vouched(message.target, helper, message.alive, at.now_s)

    def vouch(self, target: bytes, alive: bool) -> None:
        """Answer those who asked about a member, now that we know whether it is there."""
        if target not in self._requesters:
            return
        # In order: what a node does must not follow from the hashes of a process.
        for requester in sorted(self._requesters.pop(target)):
            self._context.send(requester, ProbeReply(target, alive))

    def not_where_it_says(self, identity: Identity, reason: str) -> None:
        """Tell a node that came to us, and people, that it is not found at the address it tells.

        The reply answers no request; a version that does not know this use of it ignores it.
        """
        self._context.tell(Unreachable(identity.node, identity.address, reason))
        self._context.send(identity.node, ProbeReply(identity.node, False))

    def _probe_directly(self, member: Member, at: Moment) -> None:
        node = member.identity.node
        if node in self._context.peers:
            self._pings += 1
            self._context.send(node, Ping(self._pings))
        else:
            self._dialer.dial_now(member.identity.address, at)

    def _probe_through_others(self, member: Member) -> None:
        helpers = [
            m.identity.node
            for m in self._context.membership.present()
            if m.status is Status.ALIVE and m.identity.node in self._context.peers
            and m is not member
        ]
        start = self._context.choose(len(helpers)) if helpers else 0
        chosen = (helpers[start:] + helpers[:start])[:HELPERS_MAX]
        self._context.membership.asked(member.identity.node, chosen)
        for helper in chosen:
            self._context.send(helper, ProbeRequest(member.identity.node))
