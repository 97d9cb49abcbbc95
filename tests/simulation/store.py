"""A simulated store: what a Valkey with our function does, and what can happen to it.

It merges by ``core.state``, ends sessions by its own clock, keeps the tombstones, remembers who has
read what, and tells the readers when somebody else has changed it, once. It can be away, stand
still, be full, be emptied, and be set back to what it was; the network between it and a host is the
world's.
"""

from __future__ import annotations

import pickle
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clustersession.core.clock import too_far_ahead
from clustersession.core.feed import Cursor
from clustersession.core.revocation import (
    judged,
    revocation_in,
    revocation_key,
    tag_of_revocation,
)
from clustersession.core.state import (
    LOCAL_PREFIX,
    Delta,
    SessionState,
    apply_delta,
    expires_ms,
    highest_time,
)
from clustersession.node.store_calls import (
    Beat,
    Beats,
    Enter,
    Forget,
    IndexEntry,
    KeepCursor,
    Merge,
    MergeAnswer,
    Read,
    ReadIndex,
    StoreAnswer,
    StoreCall,
    Told,
)
from clustersession.replica.principals import tag_of
from clustersession.worker.direct_way import PlainWrite
from tests.simulation.ledger import Store, Violation
from tests.simulation.network import LATENCY_S, End
from tests.simulation.timeline import WALL_START_MS, Action

if TYPE_CHECKING:
    from tests.simulation.agent import Agent
    from tests.simulation.host import Host
    from tests.simulation.world import World

NAME = "store"
RETRY_S = 0.25
DIAL_TIMEOUT_S = 1.0
REFUSAL_HEARD_S = 0.5
BEATS_KEPT_MS = 3_600_000


class SimulatedStore:
    """A station of the network with everything that all hosts have told it."""

    name = NAME
    dark = False

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_there = True
        self._paused = False
        self._backlog: deque[Action] = deque()
        self._sessions: dict[str, SessionState] = {}
        self._indexes: dict[bytes, dict[IndexEntry, int]] = {}
        self._cursors: dict[bytes, Cursor] = {}
        self._beats: dict[bytes, tuple[bytes, int]] = {}
        # By node what is followed of it; None: it has left, or is silent for too long.
        self._pulse: dict[bytes, int | None] = {}
        self._edition = b""
        self._memory = b""
        self._readers: dict[str, dict[Served, None]] = defaultdict(dict)
        self._served: dict[Served, None] = {}
        self._forgotten: set[str] = set()
        # Which run of the server it is: connections to another one are broken.
        self.run = 0
        self._space: int | None = None
        self._full_s = float("-inf")
        self._saved: Any = self._copy()

    # ---- running ---------------------------------------------------------------------------------

    def do(self, action: Action) -> None:
        """Run now, or when it goes on."""
        if self._paused:
            self._backlog.append(action)
        else:
            action()

    def datagram(self, data: bytes) -> None:
        """Nobody sends it any."""

    @property
    def is_well(self) -> bool:
        """Whether it answers."""
        return self.is_there and not self._paused

    def fate_of_dial(self, host: Host) -> str:
        """What somebody experiences who connects."""
        if self.world.network.unreachable(host.name, NAME) or self._paused:
            return "silence"
        return "answer" if self.is_there else "refused"

    def serve(self, served: Served) -> None:
        """A host has connected."""
        self._served[served] = None

    def wall_ms(self) -> int:
        """Its clock is right."""
        return WALL_START_MS + int(self.world.timeline.now_s * 1000)

    # ---- what can happen to it -------------------------------------------------------------------

    def go_away(self) -> None:
        """Stop: connections break."""
        self.is_there = False
        self.run += 1
        for served in list(self._served):
            self.forget(served)
            served.end.abort("the store is gone")

    def come_back(self) -> None:
        """Start again, with what it had."""
        self.is_there = True

    def pause(self, seconds: float) -> None:
        """Stand still; connections hold."""
        if self.is_well:
            self._paused = True
            self.world.timeline.later(seconds, self.resume)

    def resume(self) -> None:
        """Go on with what has piled up."""
        self._paused = False
        while self._backlog and not self._paused:
            self._backlog.popleft()()

    def empty(self) -> None:
        """FLUSHALL: connections hold, and readers are told that anything may have changed."""
        self._lose()
        self._sessions, self._cursors, self._beats, self._memory = {}, {}, {}, b""
        self._indexes, self._pulse, self._edition = {}, {}, b""
        self._readers.clear()
        for served in self._served:
            served.tell_changed(None)

    def fill(self, space: int) -> None:
        """Have no space but for so many bytes."""
        self._space = self._taken() + space

    def drain(self) -> None:
        """Have space again."""
        if self._space is not None:
            self._space, self._full_s = None, self.world.timeline.now_s

    @property
    def is_full(self) -> bool:
        """Whether it refuses what grows, or somebody may hear only now that it has."""
        now_s = self.world.timeline.now_s
        return self._space is not None or now_s - self._full_s < REFUSAL_HEARD_S

    def _taken(self) -> int:
        return sum(_size(state) for state in self._sessions.values())

    def _finds_no_space(self, key: str, before: SessionState | None, after: SessionState) -> bool:
        if self._space is None or after.ended or tag_of_revocation(key) is not None:
            return False
        # A node that uses it for the first time is one more version, which is small.
        versions = 0 if before is None else 33 * (len(after.versions) - len(before.versions))
        growth = _size(after) - (0 if before is None else _size(before)) - versions
        return growth > 0 and self._taken() + growth > self._space

    def save(self) -> None:
        """Make a backup."""
        self._saved = self._copy()

    def fall_back(self) -> None:
        """Fail over to what lagged behind, or be restored: connections break."""
        self._lose()
        self._sessions, self._cursors, self._beats, self._memory, *rest = self._saved
        self._indexes, self._pulse, self._edition = rest
        self._saved = self._copy()
        self.go_away()
        self.come_back()

    def _copy(self) -> Any:
        indexes = {tag: dict(entries) for tag, entries in self._indexes.items()}
        told = dict(self._beats), self._memory, indexes, dict(self._pulse), self._edition
        return dict(self._sessions), dict(self._cursors), *told

    def _lose(self) -> None:
        self._forgotten = set(self._sessions)
        self.world.ledger.lose(Store(NAME, -1), self.world.timeline.now_s)

    # ---- what it answers -------------------------------------------------------------------------

    def get(self, key: str) -> SessionState | None:
        """What it holds, with the end of a user's revocation that it holds."""
        state = self._get(key)
        tag = None if state is None else tag_of(state)
        if state is None or tag is None:
            return state
        return judged(key, state, revocation_in(self._get(revocation_key(tag))))

    def keys(self) -> list[str]:
        """What it has not forgotten."""
        return [key for key in list(self._sessions) if self._get(key) is not None]

    def held(self) -> list[tuple[str, SessionState]]:
        """The sessions among it, as ``get`` has them."""
        return [(key, state) for key in self.keys() if (state := self.get(key)) is not None]

    def _get(self, key: str) -> SessionState | None:
        state = self._sessions.get(key)
        if state is None:
            return None
        kept_ms = self.world.settings.stamp_lead_ms_max if state.ended is not None else 0
        if expires_ms(state) + kept_ms > self.wall_ms():
            return state
        del self._sessions[key]
        if state.ended is None:
            self.world.ledger.expired(key, None)
        self._tell_readers(key, None)
        return None

    def execute(self, served: Served, calls: Sequence[StoreCall]) -> list[StoreAnswer]:
        """Run a group."""
        return [self._run(served, call) for call in calls]

    def _run(self, served: Served, call: StoreCall) -> StoreAnswer:
        match call:
            case Merge():
                return self._merge(served, call)
            case Read(key):
                self._readers[key][served] = None
                return self._get(key)
            case Enter():
                return self._enter(call)
            case ReadIndex(tag):
                return tuple(self.index(tag))
            case Forget(tag, entries):
                for entry in entries:
                    self._indexes.get(tag, {}).pop(entry, None)
                return None
            case KeepCursor(node, cursor):
                self._cursors[node] = cursor
                return None
            case Beat():
                return self._beat(call)

    def _merge(self, served: Served, call: Merge) -> MergeAnswer:
        key, state = call.key, call.state
        if any(name.startswith(LOCAL_PREFIX) for name in state.registers):
            raise Violation(f"the store was sent an attribute of {key[:6]} that stays on its host")
        lead_ms = self.world.settings.stamp_lead_ms_max
        if too_far_ahead(highest_time(state), self.wall_ms(), lead_ms):
            return MergeAnswer.FROM_THE_FUTURE
        before = self._get(key)
        if before is None and not call.whole:
            self.world.marks["store wanted a whole copy"] += 1
            return MergeAnswer.WHOLE_COPY_WANTED
        joined = apply_delta(before, Delta(key, state, full=True))
        assert joined is not None
        if joined == before:
            self._readers[key][served] = None
            return MergeAnswer.SAME
        if self._finds_no_space(key, before, joined):
            self.world.marks["store was full"] += 1
            self._keep_times(served, key, before, joined)
            return MergeAnswer.FULL
        self._sessions[key] = joined
        if key in self._forgotten:
            self._forgotten.remove(key)
            self.world.marks["store told what it had forgotten"] += 1
        self._tell_readers(key, served)
        # Who merges hears of the next change, as who reads does.
        self._readers[key][served] = None
        return MergeAnswer.DONE

    def change(self, write: PlainWrite) -> bool:
        """What a worker sends itself, as ``change.lua`` takes it; False: the agent is wanted."""
        key, part = write.key, write.part
        before = self._get(key)
        lead_ms = self.world.settings.stamp_lead_ms_max
        if before is None or before.ended is not None:
            return False
        if (before.created_ms, before.deadline_ms) != (part.created_ms, part.deadline_ms):
            return False
        if before.versions.get(write.node, 0) < write.base:
            self.world.marks["store lacked what a write stands on"] += 1
            return False
        if too_far_ahead(highest_time(part), self.wall_ms(), lead_ms):
            return False
        if any(before.registers[name] > register for name, register in part.registers.items()
               if name in before.registers):
            return False
        joined = apply_delta(before, Delta(key, part, full=False))
        assert joined is not None
        if joined != before:
            if self._finds_no_space(key, before, joined):
                return False
            if (enter := write.enter) is not None:
                self._enter(enter)
                self.world.marks["write of a user's session taken from a worker"] += 1
            kept = self._cursors.get(write.node, Cursor(0, 0))
            self._cursors[write.node] = kept._replace(position=max(kept.position, write.seq))
            self._sessions[key] = joined
            self._tell_readers(key, None)
        self.world.marks["write taken from a worker"] += 1
        return True

    def _keep_times(
        self, served: Served, key: str, before: SessionState | None, joined: SessionState
    ) -> None:
        """Keep when a session was used, which takes no space."""
        if before is None:
            return
        timed = replace(
            before, created_ms=joined.created_ms, accessed_ms=joined.accessed_ms,
            deadline_ms=joined.deadline_ms,
        )
        if timed != before:
            self._sessions[key] = timed
            self._tell_readers(key, served)
            self._readers[key][served] = None

    def index(self, tag: bytes) -> dict[IndexEntry, int]:
        """What it names for a user, and until when."""
        entries, now_ms = self._indexes.get(tag, {}), self.wall_ms()
        for entry in [entry for entry, until_ms in entries.items() if until_ms < now_ms]:
            del entries[entry]
        return entries

    def _enter(self, call: Enter) -> MergeAnswer:
        entries = self.index(call.tag)
        if call.until_ms <= max(entries.get(call.entry, 0), self.wall_ms() - 1):
            return MergeAnswer.SAME
        self._indexes.setdefault(call.tag, entries)[call.entry] = call.until_ms
        return MergeAnswer.DONE

    def _beat(self, call: Beat) -> Beats:
        node, now_ms = call.node, self.wall_ms()
        drawn = self.world.bytes_for(f"memory {self.world.next_number()}", 8)
        self._memory = self._memory or drawn
        self._beats[node] = call.data, now_ms
        followed = call.edition if call.data else None
        is_new = node not in self._pulse or self._pulse[node] != followed or followed is None
        self._pulse[node] = followed
        if is_new:
            self._edition = drawn
        cursor = self._cursors.get(node)
        silent_ms = max((now_ms - self._beats[other][1] for other in self._followed()), default=0)
        if call.known == self._edition and silent_ms <= call.late_ms:
            self.world.marks["beat answered in short"] += 1
            return Beats(now_ms, self._memory, cursor, None, self._edition, silent_ms)
        others = self._look(call, drawn)
        return Beats(now_ms, self._memory, cursor, others, self._edition)

    def _followed(self) -> list[bytes]:
        return [node for node, edition in self._pulse.items() if edition is not None]

    def _look(self, call: Beat, drawn: bytes) -> dict[bytes, Told]:
        """Who is there; who is silent for too long is followed no more."""
        now_ms = self.wall_ms()
        self._beats = {
            other: (told, at_ms) for other, (told, at_ms) in self._beats.items()
            if now_ms - at_ms < BEATS_KEPT_MS
        }
        self._pulse = {node: self._pulse[node] for node in self._beats}
        for other in self._followed():
            if now_ms - self._beats[other][1] > call.gone_ms:
                self._pulse[other], self._edition = None, drawn
        return {
            other: Told(told, now_ms - at_ms, self._pulse[other] is not None)
            for other, (told, at_ms) in self._beats.items() if other != call.node
        }

    def _tell_readers(self, key: str, but: Served | None) -> None:
        """Tell each reader once; from then on it has to read again to be told."""
        for served in self._readers.pop(key, {}):
            if served is not but:
                served.tell_changed([key])

    def forget(self, served: Served) -> None:
        """A connection is gone."""
        self._served.pop(served, None)
        for readers in self._readers.values():
            readers.pop(served, None)


def _size(state: SessionState) -> int:
    return 48 + 33 * len(state.versions) + sum(
        66 + len(name) + len(register.value or b"") for name, register in state.registers.items()
    ) + (40 if state.ended else 0)


class Served:
    """The store's end of the connection with one host."""

    def __init__(self, store: SimulatedStore) -> None:
        self._store = store
        self.end: End

    @property
    def alive(self) -> bool:
        return self._store.is_there

    @property
    def station(self) -> SimulatedStore:
        return self._store

    def frame(self, end: End, payload: bytes) -> None:
        """A group came."""
        number, calls = pickle.loads(payload)
        end.send(pickle.dumps((number, self._store.execute(self, calls))))

    def closed(self, end: End) -> None:
        self._store.forget(self)

    def note_sent(self, end: End, data: bytes) -> None:
        pass

    def tell_changed(self, keys: Sequence[str] | None) -> None:
        """What the host has read has changed.

        With jitter by another way than the answers, which it may overtake, or follow late.
        """
        world, payload, end = self._store.world, pickle.dumps((0, keys)), self.end
        jitter_ms = round(world.plan.jitter_s * 1000)
        if not jitter_ms:
            end.send(payload)
            return

        def arrive() -> None:
            if not end.open or end.connection.broken:
                return
            if world.network.unreachable(*end.connection.way(end.number)):
                end.send(payload)
            else:
                other = end.other
                other.holder.station.do(lambda: other.open and other.holder.frame(other, payload))

        world.timeline.later(world.random_int(jitter_ms) / 1000, arrive)


class StoreLine:
    """The host's end, for one life of its agent: it connects, and does so again."""

    def __init__(self, agent: Agent, store: SimulatedStore) -> None:
        self._agent = agent
        self._store = store
        self._end: End | None = None
        self.run = -1
        self._dial_later(LATENCY_S)

    @property
    def alive(self) -> bool:
        return self._agent.alive

    @property
    def station(self) -> Host:
        return self._agent.host

    def note_sent(self, end: End, data: bytes) -> None:
        pass

    def send(self, number: int, calls: Sequence[StoreCall]) -> None:
        """Send a group."""
        if self._end is not None:
            self._end.send(pickle.dumps((number, calls)))

    def frame(self, end: End, payload: bytes) -> None:
        """Answers, or what has changed."""
        agent = self._agent
        if not agent.alive:
            end.abort("gone")
        elif end is self._end:
            number, content = pickle.loads(payload)
            agent.world.trace(agent.host, "store", repr((number, content)).encode())
            if number:
                agent.engine.store_answered(number, content, agent.at())
            else:
                agent.engine.store_changed(content, agent.at())
            agent.pump()

    def closed(self, end: End) -> None:
        """The connection broke."""
        if end is self._end and self._agent.alive:
            self._end = None
            self._agent.engine.store_down(self._agent.at())
            self._agent.pump()
            self._dial_later(RETRY_S)

    def drop(self) -> None:
        """Break it."""
        end = self._end
        if end is not None:
            end.abort("silent")
            self._agent.world.marks["silent store dropped"] += 1
            self.closed(end)

    def close(self, *, silently: bool = False) -> None:
        """The agent is gone, or goes."""
        end, self._end = self._end, None
        if end is not None and not silently:
            end.close("leaving")

    def _dial_later(self, after_s: float) -> None:
        host = self._agent.host
        self._agent.world.timeline.later(after_s, lambda: host.do(self._dial))

    def _dial(self) -> None:
        agent, store = self._agent, self._store
        if not agent.alive or self._end is not None:
            return
        fate = store.fate_of_dial(agent.host)
        if fate != "answer":
            self._dial_later(RETRY_S if fate == "refused" else DIAL_TIMEOUT_S)
            return
        served = Served(store)
        self.run = store.run
        self._end, served.end = agent.world.network.connect(self, served)
        store.serve(served)
        agent.engine.store_up(agent.at())
        agent.pump()
