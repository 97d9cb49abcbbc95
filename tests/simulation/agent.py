"""The agent of one host: the real engine, with this world's network and clock around it.

It does for the simulation what ``clustersession.agent`` does over sockets: it keeps the links of
each peer, seals and opens datagrams, answers the workers, leaves them a view, sweeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clustersession.agent.driver import STARTS_NOTE
from clustersession.agent.sweeper import SWEEP_INTERVAL_S, SWEEP_LIMIT
from clustersession.core.errors import ReplicaError
from clustersession.core.identity import (
    EPOCH_RANDOM_BITS,
    REFUTATION_BITS,
    Address,
    Identity,
    Phase,
    epoch_of,
    first_incarnation,
    next_start,
)
from clustersession.core.membership import Status
from clustersession.core.serving_view import VIEW_NOTE, View
from clustersession.node import effects, news
from clustersession.node.engine import Engine
from clustersession.wire.envelope import Opened, Opener, Sealer
from clustersession.wire.local import Operation, Request, decode_request, encode_answer
from clustersession.wire.messages import (
    PROTOCOL_VERSION,
    Hello,
    SnapshotRequest,
    decode_message,
    encode_message,
)
from tests.simulation.ledger import Violation
from tests.simulation.network import LATENCY_S, End, Station

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.worker import Ask

DIAL_TIMEOUT_S = 1.0
TIMER_S_MIN = 0.001
OUTPUTS_MAX = 10_000
SNAPSHOT_REQUEST = 7


class Agent:
    """One life of one host's agent."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.world = host.world
        self.alive = True
        self.links: dict[bytes, list[End]] = {}
        self.asked: dict[int, Ask] = {}
        self.address = Address(host.ip, 4000)
        self._opener = Opener(self.world.keys, "simulated")
        self._seen: set[tuple[bytes, int, int]] = set()
        self._tokens = 0
        self._timer_s = float("inf")
        self._view: View | None = None
        self._donor = b""
        self.engine: Engine
        self._begin()
        self.engine.start(host.clock.moment())
        self.engine.set_serving(host.serving, host.clock.moment())
        self.pump()
        self._sweep_later()

    @property
    def station(self) -> Station:
        return self.host

    def die(self, *, silently: bool = False) -> None:
        """kill -9: whoever waits for an answer asks the next agent.

        silently: not even the kernel is left to close the connections.
        """
        was_alive, self.alive = self.alive, False
        if silently or not was_alive:
            return
        for ends in self.links.values():
            for end in ends:
                end.abort()
        for ask in list(self.asked.values()):
            ask.again()

    def leave(self) -> None:
        """Say goodbye and go."""
        self.engine.feed_moved(self.host.clock.moment())
        self.pump()
        self.engine.leave(self.host.clock.moment())
        self.pump()
        self.alive = False
        for ends in list(self.links.values()):
            for end in ends:
                end.close()
        for ask in list(self.asked.values()):
            ask.again()

    # ---- the engine ------------------------------------------------------------------------------

    def pump(self) -> None:
        """Carry out what the engine wants, and set its timer."""
        count = 0
        while self.alive and (wanted := self.engine.effects()):
            for effect in wanted:
                count += 1
                self._carry_out(effect)
            if count > OUTPUTS_MAX:
                raise Violation(f"{self.host.name}: the engine does not come to rest")
        for told in self.engine.news():
            self.world.note(self.host, told)
            if isinstance(told, news.MembersChanged | news.BecameReady):
                self._write_view()
        self._arm()

    def _carry_out(self, effect: effects.Effect) -> None:
        world = self.world
        match effect:
            case effects.Send(node, data):
                self._note_donor(node, data)
                ends = self.links.get(node)
                if ends:
                    ends[0].send(data)
            case effects.Multicast(data):
                world.network.multicast(self.host.name, self._sealer.seal(data))
            case effects.Dial(address):
                engine = self.engine
                world.timeline.later(LATENCY_S, lambda: self._dial(address, engine))
            case effects.Unlink(node):
                for end in self.links.pop(node, []):
                    end.close()
                self.engine.link_down(node, "member gone", self.host.clock.moment())
            case effects.BeginAgain():
                engine = self.engine
                world.timeline.later(0.0, lambda: self._begin_again(engine))
            case effects.Confirmed(token, value) | effects.FetchAnswered(token, value):
                ask = self.asked.pop(token, None)
                if ask is not None:
                    ask.answer(encode_answer(ask.token, value))

    def _note_donor(self, node: bytes, data: bytes) -> None:
        if data[1] != SNAPSHOT_REQUEST:
            return
        request = decode_message(data)
        assert isinstance(request, SnapshotRequest)
        if request.after_key and node != self._donor:
            self.world.marks["snapshot resumed with another donor"] += 1
        self._donor = node

    def _arm(self) -> None:
        deadline_s = max(self.engine.next_deadline(), self.world.timeline.now_s + TIMER_S_MIN)
        if not self.alive or deadline_s >= self._timer_s:
            return
        self._timer_s = deadline_s

        def timer() -> None:
            if self.alive and self._timer_s == deadline_s:
                self._timer_s = float("inf")
                self._with_replica(self.engine.handle_timer)

        later_s = deadline_s - self.world.timeline.now_s
        self.world.timeline.later(later_s, lambda: self.host.do(timer))

    def _with_replica(self, call: object) -> None:
        try:
            call(self.host.clock.moment())  # type: ignore[operator]
        except ReplicaError:
            self.world.marks["replica failed an engine"] += 1
        self.pump()

    def _begin(self) -> None:
        replica = self.host.replica
        last = int(replica.load_note(STARTS_NOTE) or b"0")
        start = next_start(last, self.host.clock.wall_ms())
        replica.save_note(STARTS_NOTE, b"%d" % start)
        own = Identity(replica.node, first_incarnation(start), self.host.name, self.address)
        epoch = epoch_of(start, self.world.random_int(1 << EPOCH_RANDOM_BITS))
        self._sealer = Sealer(self.world.keys, "simulated", replica.node, epoch)
        settings = self.world.settings
        self.engine = Engine(
            settings, replica, own, multicast=bool(settings.multicast_address),
            choose=self.world.random_int,
        )
        self.world.began(own)

    def _begin_again(self, engine: Engine) -> None:
        if engine is not self.engine or not self.alive:
            return
        self.world.marks["node that lost its past began again"] += 1
        engine.give_up(self.host.clock.moment())
        self.pump()
        try:
            self.host.replica.renew_identity(self.world.new_node(), engine.claims.trusted_head)
            self._begin()
        except ReplicaError:
            self.world.marks["replica failed an engine"] += 1
            return
        for ends in list(self.links.values()):
            for end in ends:
                end.close()
        self.links.clear()
        self.engine.succeed(engine, self.host.clock.moment())
        self.pump()

    # ---- links -----------------------------------------------------------------------------------

    def _dial(self, address: Address, engine: Engine) -> None:
        if not self.alive:
            return
        other = self.world.host_at(address)
        fate = "refused" if other is None else other.fate_of_dial(self.host)
        if fate == "refused":
            self._dial_failed(engine, address, True)
        elif fate == "silence":
            self.world.timeline.later(
                DIAL_TIMEOUT_S,
                lambda: self.host.do(lambda: self._dial_failed(engine, address, False)),
            )
        else:
            assert other is not None
            assert other.agent is not None
            self._connect(other.agent, address, engine)

    def _connect(self, other: Agent, address: Address, engine: Engine) -> None:
        ours, theirs = self.world.network.connect(self, other)
        ours.identity = _greeted(other.hello())
        theirs.identity = _greeted(self.hello())

        def adopt() -> None:
            if self.alive and self.engine is engine and ours.open:
                self.adopt(ours, address)
            else:
                ours.close()

        # First, so that what the other side says at once finds us there.
        self.world.timeline.later(LATENCY_S, lambda: self.host.do(adopt))
        other.adopt(theirs, None)

    def hello(self) -> bytes:
        """Who we say we are."""
        return encode_message(Hello(PROTOCOL_VERSION, "simulated", self.engine.context.own))

    def _dial_failed(self, engine: Engine, address: Address, refused: bool) -> None:
        if self.alive and engine is self.engine:
            engine.dial_failed(address, refused, self.host.clock.moment())
            self.pump()

    def adopt(self, end: End, dialled: Address | None) -> None:
        """A connection is up, as in ``Driver._adopt``."""
        identity: Identity = end.identity  # type: ignore[assignment]
        ends = self.links.setdefault(identity.node, [])
        ours = identity.node == self.engine.context.own.node
        if ends and _life(ends[0].identity) < _life(identity):  # type: ignore[arg-type]
            for old in self.links.pop(identity.node):
                old.abort()
            self.engine.link_down(identity.node, "restarted", self.host.clock.moment())
            ends = self.links.setdefault(identity.node, [])
        if not ours:
            ends.insert(0, end)
        self.engine.link_up(identity, self.host.clock.moment(), dialled)
        if ours:
            self.links.pop(identity.node, None)
            end.close()
        self.pump()

    def frame(self, end: End, payload: bytes) -> None:
        """A message came by connection."""
        identity: Identity = end.identity  # type: ignore[assignment]
        if not self.alive:
            end.abort()
        if self.alive and end in self.links.get(identity.node, ()):
            self.world.trace(self.host, "tcp", payload)
            self.engine.receive(identity.node, payload, self.host.clock.moment(), reliable=True)
            self.pump()

    def closed(self, end: End) -> None:
        """A connection is gone, as in ``Driver._on_closed``."""
        identity: Identity = end.identity  # type: ignore[assignment]
        ends = self.links.get(identity.node, [])
        if not self.alive or end not in ends:
            return
        ends.remove(end)
        moment = self.host.clock.moment()
        if ends:
            self.engine.link_up(ends[0].identity, moment)  # type: ignore[arg-type]
        else:
            del self.links[identity.node]
            self.engine.link_down(identity.node, "connection lost", moment)
        self.pump()

    def datagram(self, data: bytes) -> None:
        """A datagram came; a second copy of it must not."""
        opened = self._opener.open(data)
        if not isinstance(opened, Opened):
            self.world.marks[f"datagram {opened.reason.value}"] += 1
            return
        name = (opened.sender, opened.epoch, opened.sequence)
        if name in self._seen:
            raise Violation(f"{self.host.name} took a datagram twice")
        self._seen.add(name)
        self.world.trace(self.host, "udp", opened.payload)
        self.engine.receive(
            opened.sender, opened.payload, self.host.clock.moment(), reliable=False
        )
        self.pump()

    # ---- workers ---------------------------------------------------------------------------------

    def request(self, data: bytes, ask: Ask | None) -> None:
        """A worker rings, or asks."""
        request: Request = decode_request(data)
        engine, moment = self.engine, self.host.clock.moment()
        if ask is not None:
            self._tokens += 1
            self.asked[self._tokens] = ask
        match request.operation:
            case Operation.CONFIRM:
                head, all_peers, timeout_ms = request.argument
                engine.wait(
                    self._tokens, head, all_peers=all_peers,
                    deadline_s=moment.now_s + timeout_ms / 1000,
                )
                self._with_replica(engine.feed_moved)
            case Operation.FETCH:
                engine.fetch(self._tokens, request.argument[0], moment)
                self.pump()
            case _:
                self._with_replica(engine.feed_moved)

    def _write_view(self) -> None:
        context = self.engine.context
        if not context.discovered:
            return
        serving = {
            member.identity.route
            for member in self.engine.membership
            if member.status is Status.ALIVE and member.phase is Phase.READY and member.serving
        }
        if context.serving and context.phase is not Phase.DRAINING:
            serving.add(self.host.name)
        view = View(frozenset(serving), context.phase is Phase.DRAINING)
        if view != self._view:
            try:
                self.host.replica.save_note(VIEW_NOTE, view.encode())
                self._view = view
            except ReplicaError:
                pass

    def _sweep_later(self) -> None:
        def sweep() -> None:
            if not self.alive:
                return
            try:
                self.host.replica.sweep(self.host.clock.wall_ms(), SWEEP_LIMIT)
            except ReplicaError:
                pass
            self._write_view()
            self._sweep_later()

        self.world.timeline.later(SWEEP_INTERVAL_S, lambda: self.host.do(sweep))


def _greeted(data: bytes) -> Identity:
    hello = decode_message(data)
    assert isinstance(hello, Hello)
    return hello.identity


def _life(identity: Identity) -> int:
    return identity.incarnation >> REFUTATION_BITS
