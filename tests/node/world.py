"""A small deterministic world: real engines and in-memory replicas on a virtual clock and network.

Links are ordered and reliable until they break; multicast has a fate per receiver. Everything is a
heap of (time, number, action), so the same script always gives the same trace.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from clustersession.core.identity import Address, Identity, first_incarnation
from clustersession.core.state import Change, Creation, Register, SessionState
from clustersession.node import effects
from clustersession.node.effects import Effect
from clustersession.node.engine import Engine
from clustersession.node.moment import Moment
from clustersession.node.news import News
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire import messages as m
from clustersession.wire.fields import MESSAGE_BYTES_MAX

LATENCY_S = 0.001
MIB = 2**20
PENDING_BYTES_MAX = 64 * 2**20
WALL_START_MS = 1_800_000_000_000


@dataclass
class Node:
    name: str
    replica: Replica
    address: Address
    starts: int = 0
    engine: Engine | None = None
    events: list[Effect | News] = field(default_factory=list)
    links: set[str] = field(default_factory=set)
    skew_ms: int = 0

    @property
    def running(self) -> Engine:
        assert self.engine is not None, f"{self.name} is down"
        return self.engine

    def seen(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def phase(self) -> str:
        return self.running.context.phase.name


class World:
    def __init__(self, names: str = "ab", **settings: object) -> None:
        values: dict[str, object] = {"distributable": True, **settings}
        self.settings = Settings(**values)  # type: ignore[arg-type]
        self.now_s = 0.0
        self.multicast = bool(self.settings.multicast_address)
        self.lose_datagram: Callable[[str, str], bool] = lambda sender, receiver: False
        self.cut: set[frozenset[str]] = set()
        self.deaf: set[tuple[str, str]] = set()
        self.aliases: dict[Address, str] = {}
        self.link_latency_s = LATENCY_S
        self.datagrams = 0
        self.dials = 0
        self.broken_by_size = 0
        self.sent_bytes: Counter[str] = Counter()
        self._pending: Counter[tuple[str, str]] = Counter()
        self._generation: Counter[tuple[str, str]] = Counter()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._timers: dict[Engine, float] = {}
        self._tokens = itertools.count(1)
        self._wipes = itertools.count(1)
        self.nodes: dict[str, Node] = {}
        for name in names:
            self.add(name)

    def add(self, name: str) -> Node:
        number = len(self.nodes) + 1
        replica = open_memory(bytes([number]) * 8, clock_skew_ms_max=300_000)
        node = Node(name, replica, Address(f"10.0.0.{number}", 4000))
        self.nodes[name] = node
        return node

    def at(self, node: Node) -> Moment:
        return Moment(self.now_s, WALL_START_MS + int(self.now_s * 1000) + node.skew_ms)

    # ---- life ------------------------------------------------------------------------------------

    def start(self, *names: str, serving: bool = True) -> None:
        for name in names or tuple(self.nodes):
            node = self.nodes[name]
            node.starts += 1
            own = Identity(node.replica.node, first_incarnation(node.starts), name, node.address)
            node.engine = self.new_engine(node, own)
            node.engine.start(self.at(node))
            node.engine.set_serving(serving, self.at(node))
            self._pump(node)

    def new_engine(self, node: Node, own: Identity) -> Engine:
        return Engine(
            self.settings, node.replica, own, multicast=self.multicast, choose=lambda n: 0
        )

    def kill(self, name: str) -> None:
        node = self.nodes[name]
        node.engine = None
        self._break_links(name, *node.links)

    def wipe(self, name: str) -> None:
        """A new, empty replica with a new node id; what happened before is forgotten."""
        self.nodes[name].events.clear()
        fresh = 2**32 + next(self._wipes)
        node = fresh.to_bytes(8, "big")
        self.nodes[name].replica = open_memory(node, clock_skew_ms_max=300_000)

    def partition(self, a: str, b: str) -> None:
        """Neither datagrams nor new connections; what is connected falls silent."""
        self.cut.add(frozenset({a, b}))

    def make_deaf(self, sender: str, receiver: str) -> None:
        """Nothing that the sender says reaches the receiver; the other way works."""
        self.deaf.add((sender, receiver))

    def heal(self) -> None:
        self.cut.clear()
        self.deaf.clear()

    def reset(self, a: str, b: str) -> None:
        """The connection breaks; what is under way on it is lost."""
        self._break_links(a, b)

    # ---- work ------------------------------------------------------------------------------------

    def write(self, name: str, key: str, *, create: bool = False, **values: str) -> int:
        node = self.nodes[name]
        wall_ms = self.at(node).wall_ms
        creation = Creation(wall_ms, wall_ms + 86_400_000, 1_800_000) if create else None
        sets = {attribute: value.encode() for attribute, value in values.items()}
        committed = node.replica.commit([Change(key, wall_ms, sets, creation=creation)], wall_ms)
        self.feed_moved(name)
        return committed.head

    def end(self, name: str, key: str) -> None:
        node = self.nodes[name]
        wall_ms = self.at(node).wall_ms
        node.replica.commit([Change(key, wall_ms, end="invalidated")], wall_ms)
        self.feed_moved(name)

    def feed_moved(self, name: str) -> None:
        node = self.nodes[name]
        if node.engine is not None:
            node.engine.feed_moved(self.at(node))
            self._pump(node)

    def confirm(self, name: str, seq: int, *keys: str, all_peers: bool = False) -> int:
        node = self.nodes[name]
        token = next(self._tokens)
        deadline_s = self.now_s + 5
        node.running.confirm(token, seq, all_peers=all_peers, deadline_s=deadline_s, keys=keys)
        self.feed_moved(name)
        return token

    def fetch(self, name: str, key: str, **wanted: int) -> int:
        """Have a node look for a session, or for a copy with the wanted writes of other nodes."""
        node = self.nodes[name]
        token = next(self._tokens)
        places = {self.nodes[writer].replica.node: seq for writer, seq in wanted.items()}
        node.running.fetch(token, key, places, self.at(node))
        self._pump(node)
        return token

    def answer(self, name: str, token: int) -> object:
        for event in self.nodes[name].events:
            if isinstance(event, effects.Confirmed) and event.token == token:
                return event.confirmations
            if isinstance(event, effects.FetchAnswered) and event.token == token:
                return event.found
        return None

    def values(self, name: str, key: str) -> dict[str, str] | None:
        """The session as an application would see it; None when there is none."""
        state = self.nodes[name].replica.get(key)
        if state is None or state.ended is not None:
            return None
        return {
            attribute: register.value.decode()
            for attribute, register in state.registers.items()
            if register.value is not None and not attribute.startswith("\x00")
        }

    # ---- time ------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self._heap and self._heap[0][0] <= end_s:
            when_s, _, action = heapq.heappop(self._heap)
            self.now_s = max(self.now_s, when_s)
            action()
        self.now_s = end_s

    def run_until(self, condition: Callable[[], object], deadline_s: float = 20.0) -> None:
        end_s = self.now_s + deadline_s
        while not condition():
            assert self.now_s < end_s, "the condition did not come true in time"
            self.run(0.01)

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now_s + delay_s, next(self._numbers), action))

    # ---- the network -----------------------------------------------------------------------------

    def _pump(self, node: Node) -> None:
        engine = node.running
        for effect in engine.effects():
            match effect:
                case effects.Send(receiver_id, data):
                    self._send(node, receiver_id, data)
                case effects.Multicast(data):
                    self._multicast(node, data)
                case effects.Dial(address):
                    self._later(LATENCY_S, lambda a=address: self._dial(node, engine, a))
                case effects.Unlink(receiver_id):
                    other = self._by_id(receiver_id)
                    if other is not None:
                        self._break_links(node.name, other.name)
                case _:
                    node.events.append(effect)
        node.events += engine.news()
        self._arm(node, engine)

    def _arm(self, node: Node, engine: Engine) -> None:
        deadline_s = engine.next_deadline()
        assert deadline_s == min(part.next_deadline() for part in engine.timed)
        if deadline_s != self._timers.get(engine):
            self._timers[engine] = deadline_s
            delay_s = max(deadline_s - self.now_s, 0.001)
            self._later(delay_s, lambda: self._timer(node, engine, deadline_s))

    def _timer(self, node: Node, engine: Engine, deadline_s: float) -> None:
        if node.engine is engine and self._timers.get(engine) == deadline_s:
            del self._timers[engine]
            engine.handle_timer(self.at(node))
            self._pump(node)

    def _by_id(self, node_id: bytes) -> Node | None:
        return next((n for n in self.nodes.values() if n.replica.node == node_id), None)

    def _send(self, node: Node, receiver_id: bytes, data: bytes) -> None:
        other = self._by_id(receiver_id)
        if other is None or other.name not in node.links:
            return
        way = (node.name, other.name)
        self.sent_bytes[node.name] += len(data)
        self._pending[way] += len(data)
        if len(data) > MESSAGE_BYTES_MAX or self._pending[way] > PENDING_BYTES_MAX:
            # As a real link does: the frame is refused, or the peer is hopelessly slow.
            self.broken_by_size += 1
            self._break_links(node.name, other.name)
            return
        generation = self._generation[way]

        def arrive() -> None:
            if self._generation[way] == generation:
                self._pending[way] -= len(data)
                self._deliver(node, other, data, reliable=True)

        self._later(self.link_latency_s, arrive)

    def _multicast(self, node: Node, data: bytes) -> None:
        self.datagrams += 1
        for other in self.nodes.values():
            if not self.lose_datagram(node.name, other.name):
                self._later(
                    LATENCY_S, lambda o=other: self._deliver(node, o, data, reliable=False)
                )

    def _deliver(self, node: Node, other: Node, data: bytes, *, reliable: bool) -> None:
        if self._cannot_reach(node.name, other.name) or other.engine is None:
            return
        if reliable and other.name not in node.links:
            return
        other.engine.receive(node.replica.node, data, self.at(other), reliable=reliable)
        self._pump(other)

    def _cannot_reach(self, sender: str, receiver: str) -> bool:
        return frozenset({sender, receiver}) in self.cut or (sender, receiver) in self.deaf

    def _dial(self, node: Node, engine: Engine, address: Address) -> None:
        if node.engine is not engine:
            return
        self.dials += 1
        alias = self.aliases.get(address)
        other = next((n for n in self.nodes.values() if n.address == address), None)
        other = self.nodes[alias] if alias is not None else other
        if other is not None and (
            self._cannot_reach(node.name, other.name) or self._cannot_reach(other.name, node.name)
        ):
            self._later(1.0, lambda: self._dial_failed(node, engine, address, refused=False))
        elif other is None or other.engine is None:
            self._dial_failed(node, engine, address, refused=True)
        else:
            if other is not node:
                node.links.add(other.name)
                other.links.add(node.name)
                other.engine.link_up(engine.context.own, self.at(other))
                self._pump(other)
            engine.link_up(other.engine.context.own, self.at(node), address)
            self._pump(node)

    def _dial_failed(
        self, node: Node, engine: Engine, address: Address, *, refused: bool
    ) -> None:
        if node.engine is engine:
            engine.dial_failed(address, refused, self.at(node))
            self._pump(node)

    def _break_links(self, name: str, *others: str) -> None:
        for other_name in list(others):
            node, other = self.nodes[name], self.nodes[other_name]
            node.links.discard(other_name)
            other.links.discard(name)
            for way in ((name, other_name), (other_name, name)):
                self._generation[way] += 1
                self._pending[way] = 0
            for one, two in ((node, other), (other, node)):
                gone = two.replica.node
                self._later(LATENCY_S, lambda o=one, t=two, g=gone: self._link_down(o, t, g))

    def _link_down(self, node: Node, other: Node, gone: bytes) -> None:
        if node.engine is not None and other.name not in node.links:
            node.engine.link_down(gone, "connection lost", self.at(node))
            self._pump(node)


def key(number: int) -> str:
    return f"1{number:022d}"


def formed(names: str = "ab", **settings: object) -> World:
    world = World(names, **settings)
    world.start()
    world.run_until(lambda: all(n.phase() == "READY" for n in world.nodes.values()))
    return world


def equal(world: World, *names: str) -> bool:
    replicas = [world.nodes[name].replica for name in names or tuple(world.nodes)]
    return len({replica.digests() for replica in replicas}) == 1


def foreign(number: int, size: int, node: bytes = b"elsewher") -> tuple[str, SessionState]:
    """A session that a node unknown to everybody wrote."""
    registers = {"pad": Register(1 << 50, node, number + 1, b"x" * size)}
    return key(number), SessionState(
        1_800_000_000_000, 1_800_000_000_000, 1_900_000_000_000, registers, {node: number + 1}
    )


def hand_over(world: World, name: str, sender: str, message: m.Message) -> None:
    """Give one node a message of another, as its link would."""
    node = world.nodes[name]
    node.running.receive(
        world.nodes[sender].replica.node, m.encode_message(message), world.at(node), reliable=True
    )
    world._pump(node)


def watch(world: World, receiver: str, kind: type[m.Message]) -> Counter[str]:
    """Counts who sends a node messages of a kind by TCP from now on."""
    engine, found = world.nodes[receiver].running, Counter[str]()
    names = {node.replica.node: name for name, node in world.nodes.items()}
    receive = engine.receive

    def counted(
        node: bytes, data: bytes, at: object, *, reliable: bool, reads: bool = True
    ) -> None:
        if reliable and isinstance(m.decode_message(data), kind):
            found[names[node]] += 1
        receive(node, data, at, reliable=reliable, reads=reads)  # type: ignore[arg-type]

    engine.receive = counted  # type: ignore[method-assign]
    return found
