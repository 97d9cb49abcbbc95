"""Is the table of members: who is in the cluster, and how each one's status changes.

======== ================================================== =====================================
from     because                                            to
======== ================================================== =====================================
unknown  a connection is up (its heartbeat only led to it)  alive
alive    connection lost, or silent for half the drop time  suspect: probe it, ask others to
suspect  anything at all is heard from it                   alive
suspect  its address refuses us and nobody vouches for it   dead
suspect  silent for the drop time, and nobody vouches       dead
any      it said goodbye                                    left
suspect  another node now answers at its address            dead
dead     a connection is up again                           alive
======== ================================================== =====================================

A member is only ever added by direct, authenticated contact; what others say about it leads to a
connection attempt and nothing more, so neither gossip nor a replayed datagram makes a ghost.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from clustersession.core.detector import FailureDetector
from clustersession.core.identity import REFUTATION_BITS, Address, Identity, Phase

FORGET_AFTER_S = 3600.0
ABSENT_MAX = 1024


class Status(StrEnum):
    """Says what this node believes about a member."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"


@dataclass(slots=True)
class Member:
    """Holds what this node knows of another. Times are this node's monotonic seconds.

    identity: as the member said last.
    status: what we believe, see the table above.
    since_s: when it was added, died or left.
    heard_s: when anything came from it itself; moved on by as long as this node stood still.
    linked: a connection to it is up.
    phase, serving, uptime_ms, head: what its last heartbeat said; ``serving`` is False once it is
        gone.
    skew_ms: its clock minus ours, by its last heartbeat.
    reason: why it is in doubt or gone; empty while it is alive.

    The rest is about the present suspicion, and begins anew with each one:

    suspect_s: when it began.
    vouched_s: when another member last said that it reaches it.
    refused: its host refused a connection.
    asked: the members that were asked about it and have not answered.
    """

    identity: Identity
    status: Status
    since_s: float
    heard_s: float
    linked: bool = True
    phase: Phase = Phase.JOINING
    serving: bool = False
    uptime_ms: int = 0
    skew_ms: int = 0
    head: int = 0
    reason: str = ""
    suspect_s: float = 0.0
    vouched_s: float = float("-inf")
    refused: bool = False
    asked: set[bytes] = field(default_factory=set)

    @property
    def present(self) -> bool:
        """Tell whether the member is part of the cluster: alive, or merely suspected."""
        return self.status in (Status.ALIVE, Status.SUSPECT)

    def note(
        self, phase: Phase, serving: bool, uptime_ms: int, head: int, skew_ms: int
    ) -> bool:
        """Note what its heartbeat says; True when it serves as it did not before, or the reverse.
        """
        changed = (self.phase, self.serving) != (phase, serving)
        self.phase, self.serving = phase, serving
        self.uptime_ms, self.head, self.skew_ms = uptime_ms, head, skew_ms
        return changed


@dataclass(frozen=True, slots=True)
class MemberAdded:
    """A node joined, or came back."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberSuspected:
    """A member may be gone: it must be probed, by us and through others."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberRefuted:
    """A suspected member is alive."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberLost:
    """A member is dead. ``member.reason`` says why we think so."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A member said goodbye."""

    member: Member


@dataclass(frozen=True, slots=True)
class RouteConflict:
    """Two living nodes carry one route, so a balancer cannot tell them apart."""

    route: str
    addresses: tuple[Address, Address]


MembershipEvent = (
    MemberAdded | MemberSuspected | MemberRefuted | MemberLost | MemberLeft | RouteConflict
)


class Membership:
    """Keeps the table. Methods that take the monotonic time return what changed.

    own: this node itself, which is not in the table; its incarnation grows with each suspicion that
        is refuted.
    detector: judges silence.
    _members: by node id, in the order in which they joined. Those gone stay for FORGET_AFTER_S, at
        most ABSENT_MAX of them.
    """

    def __init__(self, own: Identity, detector: FailureDetector) -> None:
        self.own = own
        self.detector = detector
        self._members: dict[bytes, Member] = {}

    def get(self, node: bytes) -> Member | None:
        """Return a member by node id, whatever its status."""
        return self._members.get(node)

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    def present(self) -> list[Member]:
        """Return the members alive or suspected, in order of node id."""
        return sorted(
            (m for m in self._members.values() if m.present), key=lambda m: m.identity.node
        )

    def at(self, address: Address) -> Member | None:
        """Return the present member that listens at an address."""
        return next((m for m in self.present() if m.identity.address == address), None)

    def is_stale(self, identity: Identity) -> bool:
        """Tell whether a word about a node is older than what we know of it."""
        known = self._members.get(identity.node)
        return known is not None and identity.incarnation < known.identity.incarnation

    def has_left(self, identity: Identity) -> bool:
        """Tell whether a node said goodbye in the life that this identity is of."""
        known = self._members.get(identity.node)
        return (
            known is not None and known.status is Status.LEFT
            and identity.incarnation <= known.identity.incarnation
        )

    def linked(self, identity: Identity, now_s: float) -> list[MembershipEvent]:
        """Note that a connection to the node is up and that it said who it is."""
        events = self._displace(identity, now_s)
        member = self._members.get(identity.node)
        if member is None or not member.present:
            member = Member(identity, Status.ALIVE, since_s=now_s, heard_s=now_s)
            self._members.pop(identity.node, None)
            self._members[identity.node] = member
            self._forget_oldest()
            events.append(MemberAdded(member))
            events += self._conflicts(member)
            return events
        member.linked = True
        return events + self.heard(identity, now_s)

    def heard(self, identity: Identity, now_s: float) -> list[MembershipEvent]:
        """Note that something authentic arrived from the node itself."""
        member = self._members.get(identity.node)
        if member is None or not member.present or self.is_stale(identity):
            return []
        member.identity = identity
        return self.heard_from(identity.node, now_s)

    def heard_from(self, node: bytes, now_s: float) -> list[MembershipEvent]:
        """Note that something authentic arrived from the life of the node that we know."""
        member = self._members.get(node)
        if member is None:
            return []
        if member.status is Status.ALIVE:
            member.heard_s = now_s
        elif member.status is Status.SUSPECT:
            member.heard_s = now_s
            if member.linked:
                return [self._clear(member, now_s)]
        return []

    def unlinked(self, node: bytes, reason: str, now_s: float) -> list[MembershipEvent]:
        """Note that the last connection to the node is gone."""
        member = self._members.get(node)
        if member is None:
            return []
        member.linked = False
        if member.phase is Phase.LEAVING and member.present:
            return [self._leave(member, now_s)]
        return self._suspect(member, reason, now_s) if member.status is Status.ALIVE else []

    def unreachable(self, node: bytes, refused: bool, now_s: float) -> list[MembershipEvent]:
        """Note that a connection attempt failed; ``refused``: its host said so at once."""
        member = self._members.get(node)
        if member is None or member.status is not Status.SUSPECT:
            return []
        member.refused = member.refused or refused
        return self._judge(member, now_s)

    def vouched(
        self, node: bytes, helper: bytes, alive: bool, now_s: float
    ) -> list[MembershipEvent]:
        """Note what another member told: whether it reaches this one."""
        member = self._members.get(node)
        if member is None or member.status is not Status.SUSPECT:
            return []
        member.asked.discard(helper)
        if alive:
            member.vouched_s = now_s
        return self._judge(member, now_s)

    def asked(self, node: bytes, helpers: Iterable[bytes]) -> None:
        """Note which members were asked to probe a suspect; their answers are awaited."""
        member = self._members.get(node)
        if member is not None:
            member.asked = set(helpers)

    def said_goodbye(self, node: bytes, now_s: float) -> list[MembershipEvent]:
        """Note that the node told us that it leaves."""
        member = self._members.get(node)
        return [self._leave(member, now_s)] if member is not None and member.present else []

    def suspected_by_peer(self, suspicions: Iterable[tuple[bytes, int]]) -> bool:
        """Refute a peer's suspicion of us: our incarnation is then above the one it named."""
        own_life = self.own.start
        for node, incarnation in suspicions:
            # An incarnation of another life is nonsense, and to exceed it could use up all numbers.
            same_life = (incarnation + 1) >> REFUTATION_BITS == own_life
            if node == self.own.node and same_life and incarnation >= self.own.incarnation:
                self.own = self.own._replace(incarnation=incarnation + 1)
                return True
        return False

    def excuse(self, now_s: float) -> None:
        """Count everybody's silence from now: until now nobody could have been heard."""
        self.detector.resume(now_s)
        for member in self._members.values():
            if member.present:
                member.heard_s = now_s

    def handle_timer(self, now_s: float) -> list[MembershipEvent]:
        """Judge the members' silence; to be called every heartbeat interval."""
        paused_s = self.detector.tick(now_s)
        events: list[MembershipEvent] = []
        for member in list(self._members.values()):
            member.heard_s += paused_s if member.present else 0.0
            silent_s = now_s - member.heard_s
            if member.status is Status.ALIVE and silent_s > self.detector.suspect_after_s:
                events += self._suspect(member, f"silent for {silent_s:.1f} s", now_s)
            elif member.status is Status.SUSPECT:
                events += self._judge(member, now_s)
            elif not member.present and now_s - member.since_s > FORGET_AFTER_S:
                del self._members[member.identity.node]
        return events

    def _suspect(self, member: Member, reason: str, now_s: float) -> list[MembershipEvent]:
        member.status = Status.SUSPECT
        member.reason = reason
        member.suspect_s = now_s
        member.refused, member.asked = False, set()
        member.vouched_s = float("-inf")
        for other in self._members.values():
            # A helper that is itself in doubt will not answer; nobody should wait for it.
            other.asked.discard(member.identity.node)
        return [MemberSuspected(member)]

    def _clear(self, member: Member, now_s: float) -> MembershipEvent:
        if not member.reason.startswith("connection"):
            self.detector.distrust(now_s)
        member.status = Status.ALIVE
        member.reason = ""
        return MemberRefuted(member)

    def _judge(self, member: Member, now_s: float) -> list[MembershipEvent]:
        if now_s - member.vouched_s <= self.detector.dead_after_s:
            return []
        refused_by_all = member.refused and not member.asked
        if not refused_by_all and now_s - member.heard_s <= self.detector.dead_after_s:
            return []
        silence = f"silent for {now_s - member.heard_s:.1f} s"
        verdict = "connection refused" if refused_by_all else silence
        # The longer silence is enough; the shorter one is not told besides.
        told = member.reason in ("", verdict) or (
            verdict is silence and member.reason.startswith("silent")
        )
        reason = verdict if told else f"{member.reason}, {verdict}"
        return [self._bury(member, reason, now_s)]

    def _bury(self, member: Member, reason: str, now_s: float) -> MembershipEvent:
        member.status, member.reason, member.since_s = Status.DEAD, reason, now_s
        member.serving = False
        return MemberLost(member)

    def _leave(self, member: Member, now_s: float) -> MembershipEvent:
        member.status, member.reason, member.since_s = Status.LEFT, "left", now_s
        member.serving = False
        return MemberLeft(member)

    def _forget_oldest(self) -> None:
        # A node that comes back under a new name each time must not fill the table.
        absent = [m for m in self._members.values() if not m.present]
        for member in absent[: max(0, len(absent) - ABSENT_MAX)]:
            del self._members[member.identity.node]

    def _displace(self, identity: Identity, now_s: float) -> list[MembershipEvent]:
        # Not one that is connected: containers on two hosts may believe in the same address, and
        # would expel each other for ever.
        return [
            self._bury(member, "replaced by a new node at its address", now_s)
            for member in self.present()
            if member.identity.address == identity.address
            # One that listens nowhere shares its address with others of its host.
            and (identity.address.port or member.identity.route == identity.route)
            and member.identity.node != identity.node
            and (not member.linked or member.status is Status.SUSPECT)
        ]

    def _conflicts(self, newcomer: Member) -> list[MembershipEvent]:
        own = newcomer.identity
        alive = (m for m in self.present() if m.status is Status.ALIVE and m is not newcomer)
        rivals = [self.own, *(m.identity for m in alive)]
        return [
            RouteConflict(own.route, (rival.address, own.address))
            for rival in rivals
            if rival.route == own.route and rival.node != own.node
        ]
