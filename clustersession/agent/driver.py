"""Drives the engine over real sockets: feed it, carry out what it wants, re-arm one timer."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress

from clustersession.agent.event_log import EventLog
from clustersession.agent.multicast_group import Group
from clustersession.core.errors import ConfigurationError, ReplicaError, WireError
from clustersession.core.identity import (
    EPOCH_RANDOM_BITS,
    NODE_ID_BYTES,
    REFUTATION_BITS,
    Address,
    Identity,
    epoch_of,
    first_incarnation,
    next_start,
    short,
)
from clustersession.net.discovery import resolve
from clustersession.net.interfaces import advertised_address
from clustersession.net.link_server import Link, LinkServer, Refusal, dial
from clustersession.net.operator_certificates import own_certificates
from clustersession.net.reachability import why_unreachable
from clustersession.net.tls import tls_contexts
from clustersession.node.effects import Answer, BeginAgain, Dial, Effect, Multicast, Send, Unlink
from clustersession.node.engine import Engine
from clustersession.node.moment import Moment
from clustersession.node.news import News
from clustersession.replica.protocol import Replica
from clustersession.settings.rules import split_address
from clustersession.settings.settings import Settings
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.messages import (
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    QUESTION,
    Hello,
    check_version,
    decode_message,
    encode_message,
)

STARTS_NOTE = "starts"
SEEDS_INTERVAL_S = 5.0
TIMER_S_MIN = 0.001
UNREAD_BYTES_MAX = 8 * 2**20
LEAVE_S_MAX = 2.0
LEAVE_LOOK_S = 0.01


def moment() -> Moment:
    """Now, on both clocks."""
    return Moment(time.monotonic(), time.time_ns() // 1_000_000)


class Driver:
    """One running member of the cluster: engine, links, multicast, timer."""

    def __init__(self, settings: Settings, replica: Replica) -> None:
        self.settings = settings
        self.replica = replica
        self.reporter = EventLog(settings, self._name_of)
        self.answer: Callable[[Answer], None] = lambda answer: None
        self.on_news: Callable[[News], None] = lambda news: None
        self._keys = ClusterKeys.derive(settings.secret, settings.cluster_name)
        self.group = Group(settings, self._keys, self.reporter, self._on_datagram)
        self._links: dict[bytes, list[Link]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = float("inf")
        self._feed_moved = False
        self._applied_before = 0
        self.started_s = time.monotonic()
        self.refused: Mapping[Refusal, int] = {}
        self._closing = False
        self._dial_timeout_s = max(0.5, settings.drop_time_s / 3)
        self.engine: Engine

    async def start(self) -> None:
        """Listen and begin to look for the others.

        Raises OSError when no port is free, ConfigurationError for certificates that do not work.
        """
        settings = self.settings
        tls = tls_contexts(self._keys, own_certificates(settings), self.replica)
        self._tls = tls
        self._server = LinkServer(
            settings.bind, settings.port, settings.port_range, tls.server,
            self._hello, self._check_hello, self._accepted, self._refused, proof=tls.proof,
        )
        self.refused = self._server.refused
        await self._server.start()
        try:
            port = self._server.address[1]
            host, told_port = split_address(settings.advertise)
            self._address = Address(advertised_address(settings.bind, host), told_port or port)
            self._begin()
            if settings.multicast_address:
                self.engine.context.multicast = await self.group.join()
        except BaseException:
            await self._server.close()
            raise
        self.engine.start(moment())
        if settings.seeds:
            self._spawn(self._follow_seeds())
        self.pump()

    async def stop(self) -> None:
        """Say goodbye and close everything, when a peer holds what we wrote or is too slow."""
        self._stream()
        with suppress(ReplicaError):
            await self._until_held()
        self._closing = True
        self._with_replica(self.engine.leave)
        await self._server.close()
        for links in list(self._links.values()):
            for link in links:
                link.close("leaving")
        waits = [link.wait_closed() for links in self._links.values() for link in links]
        if waits:
            await asyncio.wait([asyncio.ensure_future(w) for w in waits], timeout=2.0)
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.group.close()

    async def _until_held(self) -> None:
        for _ in range(round(LEAVE_S_MAX / LEAVE_LOOK_S)):
            if self.engine.sender.is_held():
                return
            self.engine.sender.press(moment())
            self.pump()
            await asyncio.sleep(LEAVE_LOOK_S)

    @property
    def address(self) -> Address:
        """Where peers reach us."""
        return self._address

    @property
    def applied(self) -> int:
        """Changes of peers that were applied, under whatever node id."""
        return self._applied_before + self.engine.receiver.applied

    def feed_moved(self) -> None:
        """Workers have committed or wait: stream once per turn of the loop, however many."""
        if not self._feed_moved:
            self._feed_moved = True
            asyncio.get_running_loop().call_soon(self._stream)

    def pump(self) -> None:
        """Carry out what the engine wants and set its timer; to follow every call to the engine."""
        while effects := self.engine.effects():
            for effect in effects:
                self._carry_out(effect)
        for news in self.engine.news():
            self.reporter.report(news)
            self.on_news(news)
        self._arm()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(node, data):
                links = self._links.get(node)
                if links:
                    links[0].send(data)
            case Multicast(data):
                self.group.send(data)
            case Dial(address):
                self._spawn(self._dial(address, self.engine))
            case Unlink(node):
                # Gone for the engine at once: a link that takes its time to close must not be
                # taken for a connection with a member that comes back meanwhile.
                for link in self._links.pop(node, []):
                    link.close("member gone")
                self.engine.link_down(node, "member gone", moment())
            case BeginAgain():
                asyncio.get_running_loop().call_soon(self._begin_again, self.engine)
            case _:
                self.answer(effect)

    # ---- identity --------------------------------------------------------------------------------

    def _begin(self) -> None:
        last = int(self.replica.load_note(STARTS_NOTE) or b"0")
        start = next_start(last, moment().wall_ms)
        self.replica.save_note(STARTS_NOTE, b"%d" % start)
        node = self.replica.node
        own = Identity(node, first_incarnation(start), self.settings.route, self._address)
        epoch = epoch_of(start, secrets.randbits(EPOCH_RANDOM_BITS))
        self.group.seal_as(node, epoch)
        self.engine = Engine(
            self.settings, self.replica, own,
            multicast=bool(self.settings.multicast_address), choose=random.randrange,
        )

    def _begin_again(self, engine: Engine) -> None:
        """Our replica lost its past: go on as a new node."""
        if engine is not self.engine or self._closing:
            # Several peers noticed.
            return
        engine.give_up(moment())
        self.pump()
        try:
            node = secrets.token_bytes(NODE_ID_BYTES)
            self.replica.renew_identity(node, engine.claims.trusted_head)
            self._begin()
        except ReplicaError as error:
            # A full disk, say. The peers go on telling us.
            self.reporter.seldom("error", "replica_failed", f"no new node id: {error}")
            return
        self._applied_before += engine.receiver.applied
        for links in list(self._links.values()):
            for link in links:
                link.close("new node id")
        self._links.clear()
        self.engine.succeed(engine, moment())
        self.pump()

    def _hello(self) -> bytes:
        own = self.engine.context.own
        name = self.settings.cluster_name
        return encode_message(Hello(PROTOCOL_VERSION, name, own, PROTOCOL_VERSION_MIN))

    def _check_hello(self, data: bytes) -> Hello:
        hello = decode_message(data)
        if not isinstance(hello, Hello):
            raise WireError("the first message is not a hello")
        if hello.cluster_name != self.settings.cluster_name:
            raise WireError(f"it belongs to cluster {hello.cluster_name!r}")
        check_version(hello)
        return hello

    def _name_of(self, node: bytes) -> str:
        member = self.engine.membership.get(node)
        return short(node) if member is None else member.identity.route

    # ---- links -----------------------------------------------------------------------------------

    def _accepted(self, link: Link) -> None:
        self._adopt(link, None)

    def _refused(self, peer_address: tuple[str, int], reason: str) -> None:
        if reason.startswith("connection lost"):
            # Health checks and port scanners connect and go; that is no news.
            self.reporter.counters["connections that said nothing"] += 1
            return
        if reason == QUESTION:
            self.reporter.counters["questions who we are"] += 1
            return
        self.reporter.dropped(f"connection refused: {reason}", peer_address[0])

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
            self.reporter.dropped(f"not a peer: {error}", str(address))
        except (OSError, TimeoutError, ValueError) as error:
            if again and isinstance(error, ConnectionError) and engine.membership.at(address):
                # A killed process may lose its listening socket last, and throws us out with it.
                await self._dial(address, engine, again=False)
                return
        else:
            if self.engine is engine:
                self._adopt(link, address)
            else:
                # Its other end knows us by the node id that we had when we dialled.
                link.abort("new node id")
            return
        if not self._closing and self.engine is engine:
            self.engine.dial_failed(address, refused, moment())
            self.pump()

    def _adopt(self, link: Link, dialled: Address | None) -> None:
        identity: Identity = link.identity.identity
        links = self._links.setdefault(identity.node, [])
        ours = identity.node == self.engine.context.own.node
        if links and _life(links[0].identity.identity) < _life(identity):
            self._drop_links(identity.node, "restarted")
            links = self._links.setdefault(identity.node, [])
        if not ours:
            # The newest first: an older one may be broken without our knowing it yet.
            links.insert(0, link)
        self.engine.link_up(identity, moment(), dialled)
        # Only now: starting delivers what waits, and the engine heeds nobody it has not met.
        link.start(self._on_message, self._on_closed)
        if ours:
            del self._links[identity.node]
            link.close("that is ourselves")
        elif dialled is None:
            self._spawn(self._check_told_address(identity))
        self.pump()

    async def _check_told_address(self, identity: Identity) -> None:
        reason = await why_unreachable(*identity.address, self._dial_timeout_s)
        if reason and identity.node in self._links:
            self.engine.dialer.not_where_it_says(identity, reason)
            self.pump()

    def _drop_links(self, node: bytes, reason: str) -> None:
        for link in self._links.pop(node, []):
            link.abort(reason)
        self.engine.link_down(node, reason, moment())

    def _on_message(self, link: Link, payload: bytes) -> None:
        node: bytes = link.identity.identity.node
        reads = link.pending_bytes <= UNREAD_BYTES_MAX
        self.engine.receive(node, payload, moment(), reliable=True, reads=reads)
        self.pump()

    def _on_closed(self, link: Link, reason: str) -> None:
        node: bytes = link.identity.identity.node
        links = self._links.get(node, [])
        if link not in links:
            return
        links.remove(link)
        if not links:
            del self._links[node]
        if self._closing:
            return
        if links:
            # What was under way on the broken one may be lost.
            self.engine.link_up(links[0].identity.identity, moment())
        else:
            self.engine.link_down(node, "connection lost", moment())
        self.pump()

    # ---- datagrams, seeds, time ------------------------------------------------------------------

    def _on_datagram(self, sender: bytes, payload: bytes) -> None:
        self.engine.receive(sender, payload, moment(), reliable=False)
        self.pump()

    async def _follow_seeds(self) -> None:
        while True:
            try:
                found = await resolve(self.settings.seeds, self._seed_trouble)
                self.engine.seeds(frozenset(Address(*a) for a in found), moment())
                self.pump()
            except (OSError, ConfigurationError) as error:
                self._seed_trouble(str(error))
            await asyncio.sleep(SEEDS_INTERVAL_S)

    def _seed_trouble(self, text: str) -> None:
        self.reporter.seldom("warning", "seed_failed", text, about=text)

    def _stream(self) -> None:
        self._feed_moved = False
        self._with_replica(self.engine.feed_moved)

    def _arm(self) -> None:
        deadline_s = self.engine.next_deadline()
        if self._closing or deadline_s >= self._timer_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = deadline_s
        delay_s = max(deadline_s - time.monotonic(), TIMER_S_MIN)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_s = None, float("inf")
        self._with_replica(self.engine.handle_timer)

    def _with_replica(self, call: Callable[[Moment], None]) -> None:
        """Whatever is wrong with the replica, heartbeats go on and the timer is armed."""
        try:
            call(moment())
        except ReplicaError as error:
            self.reporter.seldom("error", "replica_failed", f"the replica failed: {error}")
        self.pump()

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _life(identity: Identity) -> int:
    return identity.incarnation >> REFUTATION_BITS
