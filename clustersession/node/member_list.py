"""Keeps in the journal who the members are: whose ends we would have to ask for after a power cut.

Only what this node saw itself takes a member off: it left, or was dropped. Whoever was last to lose
its power has seen all others go, so its list is short, and nobody has to believe what another
says of a third.
"""

from collections.abc import Collection, Mapping

from clustersession.core.identity import Identity
from clustersession.node.context import Context
from clustersession.node.effects import Effect, Send
from clustersession.node.journal_port import JournalPast
from clustersession.node.moment import Moment
from clustersession.wire.journal import JournalMembers


class MemberList:
    """Is the list of one life of a node; begins with what the journal knows."""

    def __init__(self, context: Context, past: JournalPast) -> None:
        self._context = context
        self._listed = dict(past.members)
        # Members that the list on the disk lacks, by the number of the sync that brings them there,
        # and when they are not waited for any longer. They are sent nothing: a session that reached
        # one of them could end there, and nobody here would remember to ask.
        self._unsynced: dict[bytes, tuple[int, float]] = {}
        # What they are to be sent, in order.
        self._held: list[Send] = []
        # Whom recovery needs; they stay on the list whatever is seen of them.
        self._kept: Collection[bytes] = ()
        # When members of which nothing was seen in this life go; infinite when they have.
        self._unseen_until_s = float("inf")

    @property
    def listed(self) -> Mapping[bytes, str]:
        """Return the members by node id, with their routes."""
        return self._listed

    def start(self, at: Moment) -> None:
        """Begin; who is not there for the drop time counts as dropped."""
        self._unseen_until_s = at.now_s + self._context.settings.drop_time_s
        self.append(at)

    def append(self, at: Moment) -> None:
        """Write the list down."""
        self._context.journal.append_soon([JournalMembers(at.wall_ms, dict(self._listed))], at)

    def keep(self, nodes: Collection[bytes], at: Moment) -> None:
        """Keep nodes on the list as long as recovery needs them; who else is not there goes."""
        self._kept = frozenset(nodes)
        self._remove_absent(at)

    def linked(self, identity: Identity, at: Moment) -> None:
        """Take a member in, and hold what it is sent until it is on the disk."""
        journal = self._context.journal
        if not journal.works or identity.node in self._listed:
            return
        self._listed[identity.node] = identity.route
        self.append(at)
        until_s = at.now_s + self._context.settings.ack_timeout_s
        self._unsynced[identity.node] = journal.sync(), until_s
        self._context.retimed.add(self)

    def gone(self, node: bytes, at: Moment) -> None:
        """Take a member off that left or was dropped."""
        if self._unsynced.pop(node, None) is not None:
            self._held = [send for send in self._held if send.node != node]
            self._context.retimed.add(self)
        if node in self._listed and node not in self._kept:
            del self._listed[node]
            self.append(at)

    def synced(self, number: int) -> None:
        """Send what was held for members that are on the disk now."""
        self._let_go([node for node, (n, _) in self._unsynced.items() if n <= number])

    def failed(self) -> None:
        """Send all that was held: there is no journal to wait for."""
        self._let_go(list(self._unsynced))

    def handle_timer(self, at: Moment) -> None:
        """Wait no longer for a disk that is stuck, nor for members that do not come."""
        self._let_go([n for n, (_, until_s) in self._unsynced.items() if until_s <= at.now_s])
        if at.now_s >= self._unseen_until_s:
            self._unseen_until_s = float("inf")
            self._context.retimed.add(self)
            self._remove_absent(at)

    def next_deadline(self) -> float:
        """Return when ``handle_timer`` has something to do."""
        waits_s = (until_s for _, until_s in self._unsynced.values())
        return min([self._unseen_until_s, *waits_s])

    def hold(self, effects: list[Effect]) -> list[Effect]:
        """Keep back what goes to members that the list on the disk lacks."""
        if not self._unsynced:
            return effects
        passed: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Send) and effect.node in self._unsynced:
                self._held.append(effect)
            else:
                passed.append(effect)
        return passed

    def _let_go(self, nodes: Collection[bytes]) -> None:
        if not nodes:
            return
        for node in nodes:
            del self._unsynced[node]
        self._context.effects += [send for send in self._held if send.node in nodes]
        self._held = [send for send in self._held if send.node not in nodes]
        self._context.retimed.add(self)

    def _remove_absent(self, at: Moment) -> None:
        if self._unseen_until_s < float("inf"):
            return
        present = {member.identity.node for member in self._context.membership.present()}
        absent = self._listed.keys() - present - set(self._kept)
        if absent:
            self._listed = {n: route for n, route in self._listed.items() if n not in absent}
            self.append(at)
