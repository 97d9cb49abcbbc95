"""The network: datagrams with a fate for each receiver, and connections that hold or break.

A connection never loses a byte, and it lets messages that may overtake others do so as often as
not where it is to. While a host cannot be reached, what was sent waits; after SILENCE_S the
connection breaks, as TCP_USER_TIMEOUT makes it in the product.
"""

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Protocol

from clustersession.core.identity import Address, Identity
from clustersession.wire.frames import FrameDecoder, encode_frame
from clustersession.wire.messages import may_be_overtaken, overtakes
from tests.simulation.timeline import Action, Timeline

LATENCY_S = 0.001
SILENCE_S = 10.0
FRAME_BYTES_MAX = 16 * 2**20
NOBODY = Identity(b"", 0, "", Address("", 0))
"""At the other end of a connection until it has said who it is."""


@dataclass
class Weather:
    """What happens to every datagram, beside what a plan does to some."""

    loss: float = 0.0
    duplication: float = 0.0
    jitter_s: float = 0.0


class Station(Protocol):
    """A host as the network sees it."""

    name: str
    dark: bool
    """No power: nothing answers, not even its kernel."""

    def do(self, action: Action) -> None:
        """Run now, or when the host wakes up."""
        ...

    def datagram(self, data: bytes) -> None:
        """A datagram has arrived."""
        ...


class Holder(Protocol):
    """The process that holds one end of a connection."""

    alive: bool

    @property
    def station(self) -> Station: ...

    def frame(self, end: "End", payload: bytes) -> None: ...

    def closed(self, end: "End") -> None: ...

    def note_sent(self, end: "End", data: bytes) -> None: ...


Way = tuple[str, str]


class Network:
    """Who reaches whom, and when."""

    def __init__(self, timeline: Timeline, weather: Weather, seed: int) -> None:
        self.timeline = timeline
        self.weather = weather
        self.stations: dict[str, Station] = {}
        self.blocked: set[Way] = set()
        self.to_drop: Counter[Way] = Counter()
        self.to_double: Counter[Way] = Counter()
        self.to_delay: dict[Way, float] = {}
        self.extra_s: dict[Way, float] = {}
        self.clogged_until_s: dict[Way, float] = {}
        self.disturbed = False
        self.overtaking: random.Random | None = None
        self._random = random.Random(f"{seed}.network")
        self._direct_random = random.Random(f"{seed}.direct network")
        self._connections: dict[int, Connection] = {}
        self._numbers = 0

    # ---- faults ----------------------------------------------------------------------------------

    def block(self, sender: str, receiver: str) -> None:
        """Nothing gets from the one to the other."""
        self.blocked.add((sender, receiver))

    def heal(self) -> None:
        """Everything works again from now on; the weather is fine."""
        self.weather = Weather()
        self.blocked.clear()
        self.to_drop.clear()
        self.to_double.clear()
        self.to_delay.clear()
        self.extra_s.clear()
        self.clogged_until_s.clear()
        self.flush()

    def flush(self) -> None:
        """Somebody can be reached again: what was held goes on."""
        for connection in list(self._connections.values()):
            connection.flush()

    def reset(self, one: str, other: str) -> None:
        """Connections between two hosts break; what is under way on them is lost."""
        for connection in list(self._connections.values()):
            if connection.names == {one, other}:
                connection.reset()

    def unreachable(self, one: str, other: str) -> bool:
        """Whether a connection between two hosts stands still: it needs both ways."""
        return (
            (one, other) in self.blocked or (other, one) in self.blocked
            or self.stations[one].dark or self.stations[other].dark
        )

    # ---- datagrams -------------------------------------------------------------------------------

    def multicast(self, sender: str, data: bytes) -> None:
        """One datagram to the group, the sender included; each receiver has its own luck."""
        for receiver in self.stations:
            way = (sender, receiver)
            if sender != receiver and self._is_lost(way):
                continue
            copies = 1
            if self.to_double[way]:
                self.to_double[way] -= 1
                copies = 2
            elif self.weather.duplication and self._random.random() < self.weather.duplication:
                copies = 2
            for number in range(copies):
                delay_s = self._delay_s(way) + self.to_delay.pop(way, 0.0) + number * LATENCY_S
                if self.weather.jitter_s and sender != receiver:
                    delay_s += self._random.random() * self.weather.jitter_s
                self.timeline.later(delay_s, lambda w=way: self._arrive(w, data))

    def unicast(self, sender: str, receiver: str, action: Action) -> None:
        """A datagram to one host alone; the same happens to it as to those of the group.

        What befalls it is drawn apart, so that the group's datagrams stay what they were.
        """
        way, weather = (sender, receiver), self.weather
        lost = weather.loss and self._direct_random.random() < weather.loss
        if self.to_drop[way]:
            self.to_drop[way] -= 1
            lost = True
        if way in self.blocked or self.stations[sender].dark or lost:
            return
        copies = 1 + bool(self.to_double[way])
        if copies > 1:
            self.to_double[way] -= 1
        elif weather.duplication and self._direct_random.random() < weather.duplication:
            copies = 2
        for number in range(copies):
            delay_s = self._delay_s(way) + self.to_delay.pop(way, 0.0) + number * LATENCY_S
            if weather.jitter_s:
                delay_s += self._direct_random.random() * weather.jitter_s
            self.timeline.later(delay_s, lambda: self._hand_over(way, action))

    def draw_direct(self) -> float:
        """A number for what goes to one host alone."""
        return self._direct_random.random()

    def _hand_over(self, way: Way, action: Action) -> None:
        station = self.stations[way[1]]
        if way not in self.blocked and not station.dark:
            station.do(action)

    def _is_lost(self, way: Way) -> bool:
        if self.to_drop[way]:
            self.to_drop[way] -= 1
            return True
        return bool(self.weather.loss) and self._random.random() < self.weather.loss

    def _arrive(self, way: Way, data: bytes) -> None:
        station = self.stations[way[1]]
        if way not in self.blocked and not station.dark:
            station.do(lambda: station.datagram(data))

    def _delay_s(self, way: Way) -> float:
        clogged_s = self.clogged_until_s.get(way, 0.0) - self.timeline.now_s
        return LATENCY_S + max(self.extra_s.get(way, 0.0), clogged_s, 0.0)

    # ---- connections -----------------------------------------------------------------------------

    def connect(self, one: Holder, other: Holder) -> tuple["End", "End"]:
        """A connection between two processes; it is up at once."""
        self._numbers += 1
        connection = Connection(self, self._numbers, one, other)
        self._connections[connection.number] = connection
        return connection.ends

    def arrival_s(self, way: Way) -> float:
        """When something sent now by connection arrives."""
        return self.timeline.now_s + self._delay_s(way)

    def forget(self, connection: "Connection") -> None:
        """Both ends are closed."""
        self._connections.pop(connection.number, None)

    @property
    def connections(self) -> int:
        """How many connections are up."""
        return sum(
            all(end.open and end.holder.alive for end in connection.ends)
            for connection in self._connections.values()
        )


@dataclass(eq=False)
class End:
    """One end of a connection. ``identity`` is what the other side said it is."""

    connection: "Connection"
    holder: Holder
    number: int
    identity: Identity = NOBODY
    open: bool = True
    under_way: deque[tuple[Action, bool]] = field(default_factory=deque)
    last_arrival_s: float = 0.0
    decoder: FrameDecoder = field(default_factory=lambda: FrameDecoder(FRAME_BYTES_MAX))

    @property
    def other(self) -> "End":
        return self.connection.ends[1 - self.number]

    def send(self, payload: bytes) -> None:
        """Send one frame, in two pieces to be honest about streams."""
        self.holder.note_sent(self, payload)
        frame = encode_frame(payload)
        self._put(lambda: self.other.receive(frame[:3], frame[3:]), payload)

    def close(self, reason: str) -> None:
        """Close; what was sent before still arrives, and then the other side learns of it."""
        if self.open:
            self.open = False
            self._put(self.other.learn_closed)

    def abort(self, reason: str) -> None:
        """Close without waiting for what was sent."""
        self.open = False
        self.connection.reset()

    def receive(self, *pieces: bytes) -> None:
        """Bytes have arrived at this end."""
        if not self.open:
            return
        for piece in pieces:
            for payload in self.decoder.receive(piece):
                if self.open:
                    self.holder.frame(self, payload)

    def learn_closed(self) -> None:
        """The other side has closed, or the connection broke."""
        if self.open:
            self.open = False
            self.holder.closed(self)
        self.connection.network.forget(self.connection)

    def flush(self) -> None:
        """Send again what found nobody, or is late."""
        self.last_arrival_s = 0.0
        for _ in range(len(self.under_way)):
            self._schedule()

    def _put(self, action: Action, payload: bytes = b"") -> None:
        if self.connection.broken:
            return
        drawn = self.connection.network.overtaking
        under_way = (action, may_be_overtaken(payload))
        if (
            drawn is not None and overtakes(payload)
            and all(may_be for _, may_be in self.under_way) and drawn.random() < 0.5
        ):
            self.under_way.appendleft(under_way)
        else:
            self.under_way.append(under_way)
        self._schedule()

    def _schedule(self) -> None:
        network = self.connection.network
        way = self.connection.way(self.number)
        self.last_arrival_s = max(self.last_arrival_s, network.arrival_s(way))
        network.timeline.later(self.last_arrival_s - network.timeline.now_s, self._arrive)

    def _arrive(self) -> None:
        connection = self.connection
        if connection.broken or not self.under_way:
            return
        if connection.network.unreachable(*connection.way(self.number)):
            connection.expect_silence()
            return
        # Always the first: whatever is delayed, a stream keeps its order.
        action, _ = self.under_way.popleft()
        self.other.holder.station.do(lambda: connection.broken or action())


class Connection:
    """Two ends and what is under way between them."""

    def __init__(self, network: Network, number: int, one: Holder, other: Holder) -> None:
        self.network = network
        self.number = number
        self.broken = False
        self.ends = (End(self, one, 0), End(self, other, 1))
        self.names = {one.station.name, other.station.name}
        self._silent_since_s: float | None = None

    def way(self, number: int) -> Way:
        """From an end to the other."""
        return (
            self.ends[number].holder.station.name, self.ends[1 - number].holder.station.name
        )

    def flush(self) -> None:
        """Go on, when the hosts reach each other again."""
        if self.network.unreachable(*self.way(0)):
            return
        self._silent_since_s = None
        if self.broken:
            self._tell_both(LATENCY_S)
        for end in self.ends:
            end.flush()

    def reset(self) -> None:
        """Break: what is under way is lost, and both ends learn of it when they can."""
        if self.broken:
            return
        self.broken = True
        unreachable = self.network.unreachable(*self.way(0))
        self._tell_both(SILENCE_S if unreachable else LATENCY_S)

    def _tell_both(self, after_s: float) -> None:
        for end in self.ends:
            station = end.holder.station
            self.network.timeline.later(after_s, lambda e=end, s=station: s.do(e.learn_closed))

    def expect_silence(self) -> None:
        """Nothing gets through at present; that is borne for SILENCE_S."""
        if self._silent_since_s is not None:
            return
        since_s = self._silent_since_s = self.network.timeline.now_s

        def give_up() -> None:
            if self._silent_since_s == since_s:
                self.reset()

        self.network.timeline.later(SILENCE_S, give_up)
