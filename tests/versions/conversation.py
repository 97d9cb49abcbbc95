"""A conversation of three nodes: recorded once, and played to one node of the current tree.

Recorded is every call into each node's engine, with its times, and every commit to its replica. To
play one node's part is to make these calls again: what the peers said comes from the recording,
what the node itself does about it is the current tree's.
"""

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from clustersession.core.identity import Address, Identity
from clustersession.core.state import Change, Creation, SessionState
from clustersession.node import effects
from clustersession.node.effects import Effect
from clustersession.node.engine import Engine
from clustersession.node.moment import Moment
from clustersession.node.news import News
from clustersession.replica.opening import open_memory
from clustersession.settings.settings import Settings
from clustersession.wire.records import decode_state, encode_state
from tests.node import world as worlds
from tests.versions.describing import describe

SETTINGS: dict[str, Any] = {
    "carrier": "multicast", "heartbeat_interval_s": 1.0, "drop_time_s": 4.0,
    "repair_interval_s": 2.0,
}
STEP_S = 0.001
CALLS = (
    "start", "link_up", "link_down", "dial_failed", "receive", "feed_moved", "confirm", "fetch",
    "set_serving", "leave",
)
_RENAMED = {"wait": "confirm"}
_OBJECTS: dict[str, Callable[[Any], Any]] = {
    "bytes": lambda v: bytes.fromhex(v),
    "versions": lambda v: {bytes.fromhex(node): seq for node, seq in v.items()},
    "moment": lambda v: Moment(*v),
    "address": lambda v: Address(*v),
    "identity": lambda v: Identity(bytes.fromhex(v[0]), v[1], v[2], Address(*v[3])),
    "state": lambda v: decode_state(bytes.fromhex(v)),
    "change": lambda v: Change(
        v[0], v[1], {name: bytes.fromhex(data) for name, data in v[2].items()}, tuple(v[3]),
        None if v[4] is None else Creation(*v[4]), v[5],
    ),
}


def pack(value: Any) -> Any:
    """An argument as JSON."""
    match value:
        case bytes():
            return {"bytes": value.hex()}
        case dict():
            return {"versions": {node.hex(): seq for node, seq in value.items()}}
        case Moment():
            return {"moment": list(value)}
        case Identity(node, incarnation, route, address):
            return {"identity": [node.hex(), incarnation, route, list(address)]}
        case Address():
            return {"address": list(value)}
        case SessionState():
            return {"state": encode_state(value).hex()}
        case Change():
            creation = value.creation
            sets = {name: data.hex() for name, data in value.sets.items()}
            return {"change": [
                value.key, value.accessed_ms, sets, list(value.deletes),
                creation and [creation.created_ms, creation.deadline_ms, creation.idle_timeout_ms],
                value.end,
            ]}
    return value


def unpack(value: Any) -> Any:
    """The inverse of ``pack``."""
    if isinstance(value, dict):
        ((form, inner),) = value.items()
        return _OBJECTS[form](inner)
    return value


class RecordedEngine(Engine):
    """An engine that notes what it is called with."""

    log: ClassVar[list[dict[str, Any]]] = []
    inside = False


def _noting(name: str) -> Callable[..., Any]:
    plain = getattr(Engine, name)

    def method(self: RecordedEngine, *arguments: Any, **named: Any) -> Any:
        if self.inside:
            return plain(self, *arguments, **named)
        note(self.context.own.route, name, *arguments, **named)
        self.inside = True
        try:
            return plain(self, *arguments, **named)
        finally:
            self.inside = False

    return method


for _name in CALLS:
    setattr(RecordedEngine, _name, _noting(_name))


def note(node: str, call: str, *arguments: Any, **named: Any) -> None:
    """Append one call to the log."""
    RecordedEngine.log.append({
        "node": node, "call": call, "arguments": [pack(a) for a in arguments],
        **({"named": {name: pack(value) for name, value in named.items()}} if named else {}),
    })


class Scene(worlds.World):
    """The recorded world."""

    def commit(self, name: str, change: Change) -> int:
        node = self.nodes[name]
        note(name, "commit", change, self.at(node).wall_ms)
        head = node.replica.commit([change], self.at(node).wall_ms).head
        self.feed_moved(name)
        return head

    def create(self, name: str, number: int, **values: bytes) -> int:
        wall_ms = self.at(self.nodes[name]).wall_ms
        creation = Creation(wall_ms, wall_ms + 86_400_000, 1_800_000)
        return self.commit(name, Change(key(number), wall_ms, values, creation=creation))

    def change(self, name: str, number: int, **more: Any) -> int:
        return self.commit(name, Change(key(number), self.at(self.nodes[name]).wall_ms, **more))

    def hide(self, name: str, number: int, state: SessionState) -> None:
        """A copy that no stream brings: only asking and anti-entropy find it."""
        node = self.nodes[name]
        note(name, "merge", key(number), state, self.at(node).wall_ms)
        node.replica.merge([(key(number), state)], self.at(node).wall_ms)

    def leave(self, name: str) -> None:
        node = self.nodes[name]
        node.running.leave(self.at(node))
        self._pump(node)
        self.run(2 * worlds.LATENCY_S)


def key(number: int) -> str:
    """A session's key."""
    return f"k{number:022d}"


def record() -> list[dict[str, Any]]:
    """Play the scene; every call in order, then what each node came to."""
    RecordedEngine.log.clear()
    with mock.patch.object(worlds, "Engine", RecordedEngine):
        scene = Scene("abc", **SETTINGS)
        lives = {name: node.replica.node.hex() for name, node in scene.nodes.items()}
        ends: dict[str, Any] = {}
        _play_scene(scene, ends)
    return [{"nodes": lives, "settings": SETTINGS}, *RecordedEngine.log, {"ends": ends}]


def _play_scene(scene: Scene, ends: dict[str, Any]) -> None:
    tokens = iter(range(1, 100))

    def wait(name: str, seq: int, *, all_peers: bool = False) -> None:
        node = scene.nodes[name]
        deadline_s = scene.now_s + 5
        node.running.confirm(next(tokens), seq, all_peers=all_peers, deadline_s=deadline_s)
        scene.feed_moved(name)
        scene.run(0.05)

    def finish(name: str, *parts: str) -> None:
        node = scene.nodes[name]
        came = what_came(node.running, node.replica, node.events)
        ends[name] = {part: came[part] for part in parts or came}

    scene.start("a", "b")
    scene.run_until(lambda: all(scene.nodes[n].phase() == "READY" for n in "ab"))
    for number in range(8):
        wait("ab"[number % 2], scene.create("ab"[number % 2], number, n=b"%d" % number))
    wait("a", scene.change("a", 1, sets={"both": b"a", "large": bytes(range(256)) * 8}))
    wait("b", scene.change("b", 0, sets={"both": b"b"}, deletes=("n",)))
    wait("a", scene.change("a", 2, end="invalidated"))
    scene.start("c")
    scene.run_until(lambda: scene.nodes["c"].phase() == "READY")
    wait("c", scene.create("c", 20, user=b"ann"), all_peers=True)
    held = scene.nodes["a"].replica.get(key(0))
    assert held is not None
    scene.hide("b", 30, held)
    scene.nodes["c"].running.fetch(99, key(30), {}, scene.at(scene.nodes["c"]))
    scene.feed_moved("c")
    scene.run(0.1)
    scene.lose_datagram = lambda sender, receiver: sender == "a" and receiver == "c"
    scene.create("a", 21, lost=b"on the way")
    scene.lose_datagram = lambda sender, receiver: False
    scene.run_until(lambda: scene.nodes["c"].replica.get(key(21)) is not None)
    scene.run_until(lambda: scene.nodes["a"].replica.get(key(30)) is not None)
    scene.partition("a", "c")
    scene.run(4.5)
    scene.heal()
    scene.run(1.5)
    scene.leave("b")
    # Whom it took for what after its goodbye does not matter.
    finish("b", "answers", "sessions")
    scene.kill("b")
    scene.run(0.5)
    finish("c")
    scene.kill("c")
    scene.run(2.0)
    finish("a")


def what_came(engine: Engine, replica: Any, events: Iterable[Effect | News]) -> dict[str, Any]:
    """What a node knows and has answered."""
    answers: dict[str, Any] = {}
    for event in events:
        if isinstance(event, effects.Confirmed):
            answers[str(event.token)] = event.confirmations
        elif isinstance(event, effects.FetchAnswered):
            answers[str(event.token)] = event.found
    return {
        "phase": engine.context.phase.name,
        "members": sorted([m.identity.route, m.status.value] for m in engine.membership),
        "answers": answers,
        "sessions": {
            name: describe(replica.get(name)) for name in sorted(replica.keys("", 1_000))
        },
    }


def save(path: Path, events: list[dict[str, Any]]) -> None:
    """One call a line, compressed: a digest of all buckets alone is 8 KiB."""
    lines = "".join(json.dumps(event) + "\n" for event in events)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def load(path: Path) -> list[dict[str, Any]]:
    """The inverse of ``save``."""
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


class Part:
    """One node of the current tree, driven by its peers' recorded side of a conversation."""

    def __init__(self, events: list[dict[str, Any]], name: str) -> None:
        first, *self.calls, last = events
        self.expected: dict[str, Any] = last["ends"][name]
        self.name = name
        self.replica = open_memory(bytes.fromhex(first["nodes"][name]), clock_skew_ms_max=300_000)
        self.settings = Settings(distributable=True, **first["settings"])
        self.said: list[bytes] = []
        self.events: list[Effect | News] = []
        # Until when it was played, and when the engine's timer ran last.
        self.now_s = self._looked_s = 0.0
        self.engine: Engine

    def play(self, change: Callable[[bytes], bytes] = lambda data: data) -> dict[str, Any]:
        """Make every call, what peers said changed by ``change``; returns what came of it.

        That is, what is recorded of it in ``expected``.
        """
        for event in self.calls:
            if event["node"] == self.name:
                arguments = [unpack(a) for a in event["arguments"]]
                named = {name: unpack(a) for name, a in event.get("named", {}).items()}
                if event["call"] == "receive":
                    arguments[1] = change(arguments[1])
                self._make(event["call"], arguments, named)
        came = what_came(self.engine, self.replica, self.events)
        return {part: came[part] for part in self.expected}

    def _make(self, call: str, arguments: list[Any], named: dict[str, Any]) -> None:
        if call == "commit":
            self.replica.commit([arguments[0]], arguments[1])
        elif call == "merge":
            self.replica.merge([tuple(arguments[:2])], arguments[2])
        else:
            at = next((a for a in arguments if isinstance(a, Moment)), None)
            if call == "start":
                self._begin(at)
            elif at is not None:
                self._pass_time(at.now_s)
            getattr(self.engine, _RENAMED.get(call, call))(*arguments, **named)
            self._take()

    def _begin(self, at: Moment) -> None:
        number = list("abc").index(self.name) + 1
        own = Identity(self.replica.node, 1 << 20, self.name, Address(f"10.0.0.{number}", 4000))
        self.engine = Engine(
            self.settings, self.replica, own, multicast=True, choose=lambda n: 0
        )
        self.now_s = at.now_s

    def _pass_time(self, to_s: float) -> None:
        def due() -> float:
            return max(self.engine.next_deadline(), self.now_s, self._looked_s + STEP_S)

        while (due_s := due()) < to_s:
            self.now_s = self._looked_s = due_s
            wall_ms = worlds.WALL_START_MS + int(due_s * 1000)
            self.engine.handle_timer(Moment(due_s, wall_ms))
            self._take()
        self.now_s = to_s

    def _take(self) -> None:
        for effect in self.engine.effects():
            if isinstance(effect, effects.Send | effects.Multicast):
                self.said.append(effect.data)
            else:
                self.events.append(effect)
        self.events += self.engine.news()
