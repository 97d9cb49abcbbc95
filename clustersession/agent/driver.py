"""Feeds a node from real sockets, carries out what it wants, and sets its timer."""

import asyncio
import random
import resource
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress

from clustersession.agent.direct_listener import DirectListener
from clustersession.agent.event_log import EventLog
from clustersession.agent.journal import AgentJournal
from clustersession.agent.multicast_group import Group
from clustersession.agent.store_link import Act, StoreLink
from clustersession.core.errors import ConfigurationError, ReplicaError, WireError
from clustersession.core.identity import (
    EPOCH_RANDOM_BITS,
    NODE_ID_BYTES,
    Address,
    Identity,
    short,
)
from clustersession.net.discovery import resolve
from clustersession.net.interfaces import advertised_address
from clustersession.net.link_server import Link, LinkServer, Refusal, dial
from clustersession.net.operator_certificates import operator_certificates
from clustersession.net.reachability import why_unreachable
from clustersession.net.tls import TlsContexts, tls_contexts
from clustersession.node.effects import (
    AskStore,
    BeginAgain,
    CheckAddress,
    Confirmed,
    Dial,
    DropStore,
    FetchAnswered,
    Journaled,
    LoadRecovered,
    Located,
    Multicast,
    RecoveryOver,
    Reply,
    SealAs,
    SyncJournal,
)
from clustersession.node.engine import Engine
from clustersession.node.life import LINKS_MAX, Chance, Life
from clustersession.node.moment import Moment
from clustersession.node.store_calls import STORE
from clustersession.replica.home import NodeHome
from clustersession.replica.replica import Replica
from clustersession.settings.rules import split_address
from clustersession.settings.settings import Settings
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.messages import QUESTION, Hello, may_be_overtaken, overtakes

SEEDS_INTERVAL_S = 5.0
TIMER_S_MIN = 0.001
HELD_S = 0.01
"""How long the stream of what all peers hold may wait: many writes are then one batch, and nobody
misses them."""
UNREAD_BYTES_MAX = 8 * 2**20
LEAVE_S_MAX = 2.0
LEAVE_LOOK_S = 0.01
CHANCE = Chance(
    choose=random.randrange,
    epoch_bits=lambda: secrets.randbits(EPOCH_RANDOM_BITS),
    new_node=lambda: secrets.token_bytes(NODE_ID_BYTES),
)


def links_max() -> int:
    """Return how many links this process can afford: half of its descriptors."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return LINKS_MAX if soft == resource.RLIM_INFINITY else max(16, min(LINKS_MAX, soft // 2))


def moment() -> Moment:
    """Return the present moment, on both clocks; the wall clock is not what tests freeze."""
    return Moment(time.monotonic(), time.clock_gettime_ns(time.CLOCK_REALTIME) // 1_000_000)


class Driver:
    """Runs one member of the cluster: a node's life, its sockets and its timer."""

    def __init__(self, settings: Settings, replica: Replica, home: NodeHome | None = None) -> None:
        self.settings = settings
        self.replica = replica
        # Hears all news of the node, whatever life it is in.
        self.event_log = EventLog(settings, self._name_of)
        # Takes what the engine answers to workers; set by whoever serves them.
        self.answer: Callable[[Reply], None] = lambda answer: None
        # Tells whether somebody watches a session; set by the same.
        self.is_watched: Callable[[str], bool] = lambda key: False
        # Follow from the secrets, and stay as they are.
        self._keys = ClusterKeys.derive(settings.secret, settings.cluster_name)
        # Hears workers of other nodes, where its socket could be opened.
        self.direct = DirectListener(settings, self._keys, self.event_log, self._on_direct)
        # Joined in ``start``, if at all; seals as the node of the present life.
        self.group = Group(settings, self._keys, self.event_log, self._on_datagram)
        # Attempts to connect and what else waits for the network; each leaves when it is done.
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        # The engine's deadline that the timer was set for, infinity while none is set: a timer
        # that fires for nothing would follow each confirmation.
        self._timer_s = float("inf")
        # True from the first word of a worker to the next turn of the loop, which streams for all.
        self._feed_moved = False
        # Runs out when what all peers hold is streamed; None while there is nothing of the kind.
        self._held: asyncio.TimerHandle | None = None
        # When this process began to be the node, in monotonic seconds; no new life changes it.
        self.started_s = time.monotonic()
        # By reason, how many connections became no links; the server's own table once it is there.
        self.refused: Mapping[Refusal, int] = {}
        # True from the goodbye on: nothing is dialled any more, and no timer set.
        self._closing = False
        # The way to the store; None in a cluster of peers.
        self.store = self._new_store_link()
        # The node's journal; None where nothing is to survive a power cut.
        self.journal = self._new_journal(home)
        # Set by ``start``, before anything can call back, and never again: the node through all its
        # lives, what both ends of a link show, and what accepts links; with a store there are none.
        self.life: Life[Link]
        self._tls: TlsContexts
        self._server: LinkServer | None = None

    def _new_store_link(self) -> StoreLink | None:
        settings = self.settings
        return StoreLink(settings, self.event_log, self._with_engine) if settings.store else None

    def _new_journal(self, home: NodeHome | None) -> AgentJournal | None:
        settings = self.settings
        if home is None or settings.effective_durability == "none":
            return None
        return AgentJournal(home, settings, self.replica, self.event_log, self._with_engine)

    async def start(self) -> None:
        """Listen and begin to look for the others, or for the store.

        Raises OSError when no port is free, ConfigurationError for certificates that do not work.
        """
        if self.journal is not None:
            await self.journal.open()
        if self.store is None:
            await self._listen()
        else:
            self._begin_life(port=0)
        at = moment()
        self.engine.start(at)
        if self.store is not None:
            self.store.start()
        elif self.settings.seeds:
            self._spawn(self._follow_seeds())
        self.pump(at)

    async def _listen(self) -> None:
        settings = self.settings
        self._tls = tls = tls_contexts(self._keys, operator_certificates(settings), self.replica)
        self._server = server = LinkServer(
            settings.bind, settings.port, settings.port_range, tls.server,
            self._hello, self._check_hello, self._accepted, self._refused, proof=tls.proof,
        )
        self.refused = server.refused
        await server.start()
        try:
            self._begin_life(split_address(settings.advertise)[1] or server.address[1])
            self.engine.context.takes_direct = self.direct.open(*server.address)
            if settings.multicast_address:
                self.engine.context.multicast = await self.group.join()
        except BaseException:
            self.direct.close()
            await server.close()
            raise

    def _begin_life(self, port: int) -> None:
        settings = self.settings
        host = advertised_address(settings.bind, split_address(settings.advertise)[0])
        self.life = Life(
            settings, self.replica, Address(host, port), CHANCE, moment(), links_max=links_max(),
            journal=self.journal,
        )
        self.engine.context.is_watched = self.is_watched

    async def stop(self) -> None:
        """Say goodbye and close everything, when a peer holds what we wrote or is too slow."""
        self._stream()
        with suppress(ReplicaError):
            await self._until_held()
        self._closing = True
        at = moment()
        self.life.leave(at)
        self.pump(at)
        if self.store is not None:
            await self.store.close()
        self.direct.close()
        if self._server is not None:
            await self._server.close()
        waits = [link.wait_closed() for link in self.life.connections]
        self.life.connections.close_all("leaving")
        if waits:
            await asyncio.wait([asyncio.ensure_future(w) for w in waits], timeout=2.0)
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.journal is not None:
            await self.journal.close()
        self.group.close()

    async def _until_held(self) -> None:
        for _ in range(round(LEAVE_S_MAX / LEAVE_LOOK_S)):
            if self.engine.sender.is_held():
                return
            at = moment()
            self.engine.sender.press(at)
            self.pump(at)
            await asyncio.sleep(LEAVE_LOOK_S)

    @property
    def engine(self) -> Engine:
        """Return the engine of the node's present life."""
        return self.life.engine

    @property
    def address(self) -> Address:
        """Return where peers reach us."""
        return self.engine.context.own.address

    def feed_moved(self, *, held: bool = False) -> None:
        """Stream once per turn of the loop, however many workers have committed or wait.

        What all peers hold already, ``held``, waits for others for HELD_S.
        """
        if self._feed_moved:
            return
        loop = asyncio.get_running_loop()
        if not held:
            self._feed_moved = True
            loop.call_soon(self._stream)
        elif self._held is None:
            self._held = loop.call_later(HELD_S, self._stream)

    def grant(self) -> list[object]:
        """Return how workers may write to the store themselves; nothing while they may not."""
        number = self.engine.grant_number()
        if self.store is None or number is None:
            return []
        return self.store.grant(number, self.engine.context.own.node)

    def pump(self, at: Moment) -> None:
        """Carry out what the node wants and set its timer; to follow every call to it."""
        for effect in self.life.effects(at):
            match effect:
                case Confirmed() | FetchAnswered() | Located():
                    self.answer(effect)
                case AskStore(number, calls):
                    if self.store is not None:
                        self.store.ask(number, calls)
                case DropStore():
                    if self.store is not None:
                        self.store.drop()
                case Multicast(data):
                    self.group.send(data)
                case Dial(address):
                    self._spawn(self._dial(address, self.engine))
                case CheckAddress(identity):
                    self._spawn(self._check_address(identity))
                case SealAs(node, epoch):
                    self.group.seal_as(node, epoch)
                case SyncJournal() | LoadRecovered() | RecoveryOver():
                    self._journal(effect)
                case BeginAgain():
                    self._report()
        engine = self.life.engine
        if engine.context.news:
            self._report()
        deadline_s = engine.next_deadline()
        if deadline_s != self._timer_s:
            self._arm(deadline_s)

    def _journal(self, effect: Journaled) -> None:
        if self.journal is None:
            return
        match effect:
            case SyncJournal(number):
                self.journal.sync(number)
            case LoadRecovered(ends, after_key):
                self.journal.load(ends, after_key)
            case RecoveryOver():
                self.journal.let_go()

    def _report(self) -> None:
        for news in self.engine.news():
            self.event_log.report(news)

    def _hello(self) -> bytes:
        return self.life.hello()

    def _check_hello(self, data: bytes) -> Hello:
        return self.life.check_hello(data)

    def _name_of(self, node: bytes) -> str:
        if node == STORE:
            return "the store"
        member = self.engine.membership.get(node)
        return short(node) if member is None else member.identity.route

    # ---- links -----------------------------------------------------------------------------------

    def _accepted(self, link: Link) -> None:
        at = moment()
        self._begin_link(link, self.life.accepted(link, at), at)

    def _begin_link(self, link: Link, adopted: bool, at: Moment) -> None:
        if adopted:
            # Only now: starting delivers what waits, and the engine heeds nobody it has not met.
            link.start(self._on_message, self._on_closed, overtakes, may_be_overtaken)
        self.pump(at)

    def _refused(self, peer_address: tuple[str, int], reason: str) -> None:
        if reason.startswith("connection lost"):
            # Health checks and port scanners connect and go; that is no news.
            self.event_log.counters["connections that said nothing"] += 1
            return
        if reason == QUESTION:
            self.event_log.counters["questions who we are"] += 1
            return
        self.event_log.dropped(f"connection refused: {reason}", peer_address[0])

    async def _dial(self, address: Address, engine: Engine, *, again: bool = True) -> None:
        refused = False
        try:
            link = await dial(
                address.host, address.port, self._tls.client, self._hello(), self._check_hello,
                self._dial_timeout_s, proof=self._tls.proof,
            )
        except ConnectionRefusedError:
            refused = True
        except WireError as error:
            refused = True
            self.event_log.dropped(f"not a peer: {error}", str(address))
        except (OSError, TimeoutError, ValueError) as error:
            if again and isinstance(error, ConnectionError) and engine.membership.at(address):
                # A killed process may lose its listening socket last: until then it accepts us and
                # drops us at once.
                await self._dial(address, engine, again=False)
                return
        else:
            at = moment()
            self._begin_link(link, self.life.dialled(link, address, engine, at), at)
            return
        at = moment()
        self.life.dial_failed(address, engine, refused, at)
        self.pump(at)

    @property
    def _dial_timeout_s(self) -> float:
        """Return how long an attempt to connect may take: a member that is there must answer
        before it would be given up.
        """
        return max(0.5, self.settings.drop_time_s / 3)

    async def _check_address(self, identity: Identity) -> None:
        reason = await why_unreachable(*identity.address, self._dial_timeout_s)
        if reason:
            self.life.address_failed(identity, reason)
            self.pump(moment())

    def _on_message(self, link: Link, payload: bytes) -> None:
        reads = link.pending_bytes <= UNREAD_BYTES_MAX
        at = moment()
        self.life.received(link, payload, at, reads=reads)
        self.pump(at)

    def _on_closed(self, link: Link, reason: str) -> None:
        at = moment()
        self.life.closed(link, at)
        self.pump(at)

    def _with_engine(self, act: Act) -> None:
        at = moment()
        act(self.life.engine, at)
        self.pump(at)

    # ---- datagrams, seeds, time ------------------------------------------------------------------

    def _on_datagram(self, sender: bytes, payload: bytes) -> None:
        at = moment()
        self.life.engine.receive(sender, payload, at, reliable=False)
        self.pump(at)

    def _on_direct(self, asker: bytes, payload: bytes) -> bytes:
        at = moment()
        answer = self.life.engine.receive_direct(asker, payload, at)
        self.pump(at)
        return answer

    async def _follow_seeds(self) -> None:
        while True:
            try:
                found = await resolve(self.settings.seeds, self._seed_trouble)
                at = moment()
                self.engine.seeds(frozenset(Address(*a) for a in found), at)
                self.pump(at)
            except (OSError, ConfigurationError) as error:
                self._seed_trouble(str(error))
            await asyncio.sleep(SEEDS_INTERVAL_S)

    def _seed_trouble(self, text: str) -> None:
        self.event_log.seldom("warning", "seed_failed", text, about=text)

    def _stream(self) -> None:
        self._feed_moved = False
        if self._held is not None:
            self._held.cancel()
            self._held = None
        at = moment()
        self.life.engine.feed_moved(at)
        self.pump(at)

    def _arm(self, deadline_s: float) -> None:
        if self._closing:
            return
        now_s = time.monotonic()
        # A timer that is late already fires in a moment; put off by every message, it would not
        # fire before the load is over.
        is_late = self._timer is not None and max(deadline_s, self._timer_s) <= now_s
        self._timer_s = deadline_s
        if is_late:
            return
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(deadline_s - now_s, TIMER_S_MIN)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_s = None, float("inf")
        at, engine = moment(), self.life.engine
        if engine.next_deadline() <= at.now_s:
            engine.handle_timer(at)
        # Otherwise it was early, by an event loop that counts in milliseconds, and is set again.
        self.pump(at)

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
