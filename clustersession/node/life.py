"""Is a node's life: it begins, and begins again under a new node id once its past is lost.

What a driver holds: the engine of the present life, its links, and the serving view that it leaves
the workers. The driver feeds them, carries out ``effects`` and passes the engine's news on. Clock
and randomness come in from outside.
"""

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple

from clustersession.core.errors import ReplicaError, WireError
from clustersession.core.identity import (
    JOURNALLED_STARTS_NOTE,
    STARTS_NOTE,
    Address,
    Identity,
    epoch_of,
    first_incarnation,
    next_start,
)
from clustersession.node.connections import Connections, LinkT
from clustersession.node.contact import ContactWriter
from clustersession.node.direct_peers import DirectPeersWriter
from clustersession.node.effects import BeginAgain, CheckAddress, Outward, SealAs, Send, Unlink
from clustersession.node.engine import Engine
from clustersession.node.journal_port import NEW_JOURNAL, JournalPast, JournalPort
from clustersession.node.moment import Moment
from clustersession.node.news import NoNewNodeId
from clustersession.node.serving import ServingViewWriter
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire.messages import (
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    Hello,
    check_version,
    decode_message,
    encode_message,
)

LINKS_MAX = 512
"""How many connections a node keeps where descriptors bound it no further."""
CHECKERS = 8
"""How many of the members, about, try whether a newcomer is to be found where it says."""


class Chance(NamedTuple):
    """Holds where random draws come from.

    choose: a number below another. epoch_bits: EPOCH_RANDOM_BITS bits, and new_node: a node id,
    which must differ between machines copied from one image.
    """

    choose: Callable[[int], int]
    epoch_bits: Callable[[], int]
    new_node: Callable[[], bytes]


class Life(Generic[LinkT]):
    """Leads one node through its lives, under one node id after another."""

    def __init__(
        self, settings: Settings, replica: Replica, address: Address, chance: Chance, at: Moment,
        *, links_max: int = LINKS_MAX, journal: JournalPort | None = None,
    ) -> None:
        """Begin; ``engine.start`` is to follow. Raises ReplicaError when a start is not noted."""
        self._settings = settings
        self._replica = replica
        self._address = address
        self._chance = chance
        self._journal = journal
        self._links_max = links_max
        # True from the goodbye on: links that close are no news, and no other life begins.
        self._leaving = False
        # How many changes of peers earlier lives have applied.
        self._applied_before = 0
        # How many changes of workers of other nodes they have taken and refused.
        self._direct_before = (0, 0)
        # One for all lives: it knows what it wrote last, whatever node id that was under.
        self.view = ServingViewWriter()
        self._contact = ContactWriter(replica)
        self._direct = DirectPeersWriter(replica)
        # Engine and links of the present life. They are replaced together, so whatever belongs to
        # an engine that is not here any more is of a former life.
        past = NEW_JOURNAL if journal is None else journal.past
        self.engine = self._new_engine(at, past)
        self.connections: Connections[LinkT] = Connections(self.engine, links_max)

    @property
    def applied(self) -> int:
        """Return how many changes of peers were applied, under whatever node id."""
        return self._applied_before + self.engine.receiver.applied

    @property
    def direct(self) -> tuple[int, int]:
        """Return how many changes that came directly were taken, and refused."""
        changes, (taken, refused) = self.engine.direct_changes, self._direct_before
        return taken + changes.taken, refused + changes.refused

    def effects(self, at: Moment) -> Iterator[Outward]:
        """Yield what the driver is to carry out, in order, until nothing is left to do.

        To follow every call. What concerns links alone is done in passing.
        """
        lost, date_again, forgot, context = False, False, False, self.engine.context
        while context.effects or lost:
            wanted = self.engine.effects()
            for effect in wanted:
                match effect:
                    case Send(node, data):
                        self.connections.send(node, data)
                    case Unlink(node):
                        self.connections.unlink(node, at)
                    case BeginAgain(wrong_times):
                        date_again |= wrong_times
                        forgot |= not wrong_times
                        # Said for each peer that noticed; one beginning is enough, when those who
                        # wait have been answered.
                        if not self._leaving:
                            lost = True
                            self.engine.give_up(at)
                    case _:
                        yield effect
            if lost and not context.effects:
                lost = False
                yield BeginAgain()
                self._begin_again(at, date_again=date_again, forgot=forgot)
                context = self.engine.context
        if context.view_is_stale:
            self.view.write(context)
            self._contact.write(context)
            self._direct.write(context, self.engine.confirmations)

    # ---- links -----------------------------------------------------------------------------------

    def accepted(self, link: LinkT, at: Moment) -> bool:
        """Take in a node that has come to us; True: let its messages in."""
        adopted = self.connections.adopt(link, None, at)
        peers = len(self.engine.context.peers)
        # In a large cluster some will do: all others are as well placed to find out.
        if adopted and (peers <= CHECKERS or self._chance.choose(peers) < CHECKERS):
            self.engine.context.emit(CheckAddress(link.identity))
        return adopted

    def dialled(self, link: LinkT, address: Address, asked: Engine, at: Moment) -> bool:
        """Take in a node that answered where ``asked`` wanted to dial; True: let messages in."""
        if asked is not self.engine:
            # Its other end knows us by the node id that we had when we dialled.
            link.abort("new node id")
            return False
        return self.connections.adopt(link, address, at)

    def received(self, link: LinkT, payload: bytes, at: Moment, *, reads: bool = True) -> None:
        """Handle what came on a link; see ``Engine.receive`` for ``reads``."""
        self.connections.heard(link, at)
        self.engine.receive(link.identity.node, payload, at, reliable=True, reads=reads)

    def dial_failed(self, address: Address, asked: Engine, refused: bool, at: Moment) -> None:
        """Note that a connection attempt failed; ``refused`` when its host said so at once."""
        if asked is self.engine and not self._leaving:
            self.engine.dial_failed(address, refused, at)

    def address_failed(self, identity: Identity, reason: str) -> None:
        """Note that the address that a node tells about itself leads nowhere."""
        if self.connections.to(identity.node):
            self.engine.prober.not_where_it_says(identity, reason)

    def closed(self, link: LinkT, at: Moment) -> None:
        """Forget a link that is gone."""
        if not self._leaving:
            self.connections.closed(link, at)

    def leave(self, at: Moment) -> None:
        """Say goodbye; the driver closes the links when that is sent."""
        self._leaving = True
        self.engine.leave(at)

    # ---- who we are ------------------------------------------------------------------------------

    def hello(self) -> bytes:
        """Return what we say first on every link."""
        own = self.engine.context.own
        name = self._settings.cluster_name
        return encode_message(Hello(PROTOCOL_VERSION, name, own, PROTOCOL_VERSION_MIN))

    def check_hello(self, data: bytes) -> Hello:
        """Return what a peer says first. Raises WireError for another cluster or version."""
        hello = decode_message(data)
        if not isinstance(hello, Hello):
            raise WireError("the first message is not a hello")
        if hello.cluster_name != self._settings.cluster_name:
            raise WireError(f"it belongs to cluster {hello.cluster_name!r}")
        check_version(hello)
        return hello

    def _new_engine(self, at: Moment, past: JournalPast) -> Engine:
        replica, settings = self._replica, self._settings
        start = next_start(int(replica.load_note(STARTS_NOTE) or b"0"), at.wall_ms)
        # First, so that a start that is cut off in between does not look like an older version's.
        replica.save_note(JOURNALLED_STARTS_NOTE, b"%d" % start)
        replica.save_note(STARTS_NOTE, b"%d" % start)
        own = Identity(replica.node, first_incarnation(start), settings.route, self._address)
        engine = Engine(
            settings, replica, own,
            multicast=bool(settings.multicast_address) and not settings.store,
            choose=self._chance.choose, journal=self._journal, past=past,
        )
        engine.context.emit(SealAs(own.node, epoch_of(start, self._chance.epoch_bits())))
        return engine

    def _begin_again(self, at: Moment, *, date_again: bool, forgot: bool) -> None:
        before = self.engine
        try:
            self._replica.renew_identity(
                self._chance.new_node(), before.claims.trusted_head,
                at.wall_ms if date_again else None,
            )
            engine = self._new_engine(at, before.past(lost=forgot))
        except ReplicaError as error:
            # The disk may be full. The peers go on telling us that our past is lost.
            before.context.tell(NoNewNodeId(str(error)))
            return
        self._applied_before += before.receiver.applied
        self._direct_before = self.direct
        self.connections.close_all("new node id")
        self.engine, self.connections = engine, Connections(engine, self._links_max)
        engine.context.view_is_stale = True
        engine.succeed(before, at)
