"""Holds what an engine's parts share: settings, replica, members, peers, effects and news."""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from clustersession.core.feed import START, Cursor
from clustersession.core.identity import Address, Identity, Phase
from clustersession.core.membership import Membership
from clustersession.core.placement import holders
from clustersession.core.progress import PeerProgress
from clustersession.core.state import Delta, SessionState
from clustersession.node.effects import Effect, Send
from clustersession.node.journaling import Journaling
from clustersession.node.moment import Moment
from clustersession.node.news import News, TooLarge
from clustersession.node.store_calls import STORE
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire.fields import MESSAGE_BYTES_MAX, Past
from clustersession.wire.messages import Message, encode_message

DATAGRAM_PAYLOAD_BYTES_MAX = 1400
COPY_BYTES_MAX = MESSAGE_BYTES_MAX - 2**16


class Timed(Protocol):
    """Is a part of the engine that wants to be called at a certain time."""

    def next_deadline(self) -> float:
        """Return when ``Engine.handle_timer`` is to be called for it, infinity for never."""
        ...


@dataclass(slots=True)
class Peer:
    """Is a node that is linked; it is forgotten with its last link.

    node, address: who it is, and where it listens.
    progress: how far it has got with our feed.
    greeted: a heartbeat of it has come since the link is up.
    phase: what it was doing at its last heartbeat.
    hears_us: it said in its last heartbeat that our multicast reaches it.
    takes_direct: it said there that it takes changes from our workers.
    multicast_heard_s: when a heartbeat of it last came by multicast.
    asked_s, asked_seq: when it was last asked to confirm, and up to where it had been sent our feed
    then.
    """

    node: bytes
    address: Address
    progress: PeerProgress = field(default_factory=PeerProgress)
    greeted: bool = False
    phase: Phase = Phase.JOINING
    hears_us: bool = False
    takes_direct: bool = False
    multicast_heard_s: float = float("-inf")
    asked_s: float = float("-inf")
    asked_seq: int = 0

    @property
    def settled(self) -> bool:
        """Tell whether the peer holds what the cluster holds: then it can answer and confirm."""
        return self.greeted and self.phase in (Phase.READY, Phase.DRAINING)


@dataclass(slots=True)
class Context:
    """Holds what the parts of one engine share; each owns its own and only reads the others'.

    settings, replica: given. membership: the table of members, without ourselves.
    choose: gives a number below another; it comes from outside, like every random draw.
    multicast: the group has been joined.
    peers: by node id, who is linked; kept by the engine.
    members: the ids of the present members and our own, sorted, as placement wants them; kept by
    the engine's member events. Empty before the first, when nobody else is there to keep a copy.
    effects, news: what is to be carried out and told since the driver last took it.
    head: our feed's head when it was last read; it only grows, so a place up to here is a place.
    cursors: how far we have applied each node's feed; kept by the receiver. Beside the replica's
    own, because those of a node that loads are in memory only.
    phase: what this node is doing. JOINING until the joiner is done, then READY or DRAINING, and
    LEAVING at the end.
    serving: a worker of this host is there to answer requests.
    takes_direct: the driver has a socket for changes from workers of other nodes.
    discovered: we have looked around long enough to say who is there; once true, always.
    view_is_stale: what the workers route by may have changed; False when it has been looked at.
    store: takes what parts tell the store like a peer; None where there is none. With a store
    nobody is linked but it, under the node id STORE and while it answers.
    is_watched: tells whether somebody hears of every change of a session; set from outside.
    journal: keeps what peers send; it may be one that keeps nothing.
    past: what peers are told of our past; None without a journal.
    retimed: the parts whose next deadline may have changed since ``Engine.next_deadline``.
    """

    settings: Settings
    replica: Replica
    membership: Membership
    choose: Callable[[int], int]
    multicast: bool
    journal: Journaling
    peers: dict[bytes, Peer] = field(default_factory=dict)
    members: tuple[bytes, ...] = ()
    effects: list[Effect] = field(default_factory=list)
    news: list[News] = field(default_factory=list)
    head: int = 0
    cursors: dict[bytes, Cursor] = field(default_factory=dict)
    phase: Phase = Phase.JOINING
    serving: bool = False
    takes_direct: bool = False
    discovered: bool = False
    view_is_stale: bool = False
    store: Callable[[Message], None] | None = None
    is_watched: Callable[[str], bool] = lambda key: False
    past: Past | None = None
    retimed: set[Timed] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.journal.bind(self.emit, lambda: self.retimed.add(self.journal))

    @property
    def own(self) -> Identity:
        """Return who we are, in our present incarnation."""
        return self.membership.own

    def cursor(self, node: bytes) -> Cursor:
        """Return how far we have applied a node's feed."""
        return self.cursors.get(node, START)

    def told(self, node: bytes) -> Cursor | None:
        """Return our cursor on a node's feed as far as the node may know it; None: not at all yet.
        """
        return self.journal.told(node, self.cursor(node))

    def merge(self, copies: Sequence[tuple[str, SessionState]], at: Moment) -> int:
        """Take whole copies that a peer sent, the journal first; returns how many changed us."""
        self.journal.received_copies(copies, at)
        return self.replica.merge(copies, at.wall_ms)

    def keeps(self, node: bytes, key: str) -> bool:
        """Tell whether a node, ourselves included, keeps a copy of a session."""
        kept_by = holders(key, self.members)
        # Where all members keep it, so does a peer that is none any more, until its link is closed.
        return node in kept_by or len(kept_by) == len(self.members)

    def lacking(self, deltas: Iterable[Delta]) -> Set[bytes]:
        """Return the peers that keep no copy of some session among these: at present nobody."""
        members = self.members
        found: Set[bytes] = frozenset()
        for delta in deltas:
            kept_by = holders(delta.key, members)
            if len(kept_by) < len(members):
                found = found | (self.peers.keys() - kept_by)
        return found

    def unlinked(self) -> set[bytes]:
        """Return the members that are present as far as we know, and not connected."""
        if self.store is not None:
            return set()
        return {
            member.identity.node
            for member in self.membership.present()
            if member.identity.node not in self.peers and member.phase is not Phase.LEAVING
        }

    def send(self, node: bytes, message: Message) -> None:
        """Queue a message to a linked peer; without a link it is not sent."""
        if node not in self.peers:
            return
        if node == STORE and self.store is not None:
            self.store(message)
        else:
            self.effects.append(Send(node, encode_message(message)))

    def fits(self, key: str, state: SessionState) -> bool:
        """Tell whether a session can be sent at all; one that cannot is reported."""
        if copy_bytes_max(state) <= COPY_BYTES_MAX:
            return True
        self.tell(TooLarge(key))
        return False

    def emit(self, effect: Effect) -> None:
        """Queue what the driver is to carry out."""
        self.effects.append(effect)

    def tell(self, news: News) -> None:
        """Queue what people and programs may want to know."""
        self.news.append(news)


def copy_bytes_max(state: SessionState) -> int:
    """Bound what a session takes in a message; it is sent up to COPY_BYTES_MAX."""
    nodes = len(state.versions) + len(state.registers) + 1
    return 256 + 20 * nodes + sum(
        48 + 4 * len(name) + len(register.value or b"")
        for name, register in state.registers.items()
    )
