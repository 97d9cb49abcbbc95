"""A worker process: the real session manager, and requests as coroutines driven by hand.

Where a worker of the product awaits its agent, ``Ask`` is awaited here; there is no event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from clustersession.core.errors import ReplicaError
from clustersession.core.revocation import principal_tag
from clustersession.core.serving_view import VIEW_NOTE, View
from clustersession.replica.results import Stored
from clustersession.session.cluster_port import NOTHING_MORE
from clustersession.session.manager import SessionManager
from clustersession.wire.fields import VERSIONS
from clustersession.wire.local import (
    AHEAD_KEYS_MAX,
    Operation,
    decode_answer,
    encode_request,
)
from clustersession.worker.contact import AgentContact
from clustersession.worker.direct_peers import DirectPeersReader
from clustersession.worker.direct_way import PlainWrite, plain_write
from tests.simulation.direct import DirectAsk
from tests.simulation.ledger import Violation
from tests.simulation.network import LATENCY_S

if TYPE_CHECKING:
    from tests.simulation.host import Host

UNIX_LATENCY_S = 0.0001
RECONNECT_S = 0.02
GRACE_S = 0.05
CARRY_TIMEOUT_S = 0.05
GRANT_S = 1.0


class Ask:
    """A question to the agent, as ``worker.agent_client`` asks it: until its deadline."""

    def __init__(
        self, worker: Worker, operation: Operation, arguments: tuple[object, ...], timeout_s: float
    ) -> None:
        self._worker = worker
        self._operation = operation
        self._arguments = arguments
        self._deadline_s = worker.host.world.timeline.now_s + timeout_s
        self._task: Task | None = None
        self._done = False
        self.token = worker.next_token()

    def __await__(self) -> Generator[Ask, object, object]:
        return (yield self)

    def begin(self, task: Task) -> None:
        """The request waits from now on."""
        self._task = task
        timeline = self._worker.host.world.timeline
        timeline.later(
            self._deadline_s + GRACE_S - timeline.now_s,
            lambda: self._worker.host.do(lambda: self._finish(None)),
        )
        self._send()

    def again(self) -> None:
        """The agent is gone: ask the next one."""
        self._worker.host.world.timeline.later(
            RECONNECT_S, lambda: self._worker.host.do(self._send)
        )

    def answer(self, data: bytes) -> None:
        """The agent answered."""
        answer = decode_answer(data)
        assert answer.token == self.token
        self._worker.host.world.timeline.later(
            UNIX_LATENCY_S, lambda: self._worker.host.do(lambda: self._finish(answer.value))
        )

    def _send(self) -> None:
        host = self._worker.host
        if self._done or not self._worker.alive:
            return
        if host.agent is None or not host.agent.alive:
            if host.world.timeline.now_s < self._deadline_s:
                self.again()
            return
        data = encode_request(self._operation, self.token, *self._arguments)
        host.agent.request(data, self)

    def _finish(self, value: object) -> None:
        if not self._done and self._task is not None:
            self._done = True
            self._task.step(value)


class Carry:
    """A write that the worker sends to the store itself, until its answer or a moment later."""

    def __init__(self, worker: Worker, write: PlainWrite, run: int) -> None:
        self._worker = worker
        self._write = write
        self._run = run
        self._task: Task | None = None

    def __await__(self) -> Generator[Carry, object, object]:
        return (yield self)

    def begin(self, task: Task) -> None:
        """The request waits from now on."""
        self._task = task
        world = self._worker.host.world
        later, store = world.timeline.later, world.store
        assert store is not None
        later(CARRY_TIMEOUT_S, lambda: self._worker.host.do(lambda: self._finish(False)))
        later(self._latency_s(), lambda: store.do(self._arrive))

    def _latency_s(self) -> float:
        world = self._worker.host.world
        # Now and then it takes longer than anybody waits.
        return LATENCY_S * (1 + world.random_int(5)) + (world.random_int(50) == 0) * CARRY_TIMEOUT_S

    def _is_lost(self) -> bool:
        world = self._worker.host.world
        assert world.store is not None
        return (
            world.network.unreachable(self._worker.host.name, world.store.name)
            or not world.store.is_there or world.store.run != self._run
        )

    def _arrive(self) -> None:
        world = self._worker.host.world
        assert world.store is not None
        if self._is_lost():
            return
        taken = world.store.change(self._write)

        def answer() -> None:
            if not self._is_lost():
                self._worker.host.do(lambda: self._finish(taken))

        world.timeline.later(self._latency_s(), answer)

    def _finish(self, taken: bool) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            task.step(taken)


class Granted(NamedTuple):
    """What the agent granted: its number, for which node and run of the store, and until when."""

    number: int
    node: bytes
    run: int
    until_s: float


class Sleep:
    """The application takes its time."""

    def __init__(self, worker: Worker, seconds: float) -> None:
        self._worker = worker
        self._seconds = seconds

    def __await__(self) -> Generator[Sleep, object, object]:
        return (yield self)

    def begin(self, task: Task) -> None:
        host = self._worker.host
        host.world.timeline.later(self._seconds, lambda: host.do(lambda: task.step(None)))


class Task:
    """A request under way. ``done`` gets its result, or the exception that ended it."""

    def __init__(
        self, worker: Worker, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None]
    ) -> None:
        self._worker = worker
        self._coroutine = coroutine
        self._done = done
        self._over = False

    @property
    def hangs(self) -> bool:
        """Whether a living worker still owes an answer."""
        return not self._over and self._worker.alive

    def step(self, value: object) -> None:
        """Go on until the next wait."""
        if self._over:
            return
        if not self._worker.alive:
            self._over = True
            self._coroutine.close()
            return
        try:
            awaited = self._coroutine.send(value)
        except StopIteration as stop:
            self._over = True
            self._done(stop.value)
        else:
            awaited.begin(self)


class Port:
    """The cluster as the session layer sees it; implements ``session.cluster_port.ClusterPort``."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.last_answer: object = None
        self._granted: Granted | None = None
        self._rests_until_s = 0.0
        host = worker.host
        self.contact = AgentContact(
            host.replica, lambda: host.has_agent, lambda: host.world.timeline.now_s,
            host.clock.wall_ms,
        )
        self._direct_peers = DirectPeersReader(
            host.replica, lambda: host.has_agent, all_peers=host.world.settings.ack == "all"
        )

    @property
    def route(self) -> str:
        return self._worker.host.name

    def serving_routes(self) -> frozenset[str]:
        try:
            view = View.decode(self._worker.host.replica.load_note(VIEW_NOTE))
        except ReplicaError:
            return frozenset({self.route})
        own = frozenset() if view.draining else frozenset({self.route})
        return (view.serving - {self.route}) | own

    def confirm(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        raise NotImplementedError("requests here are asynchronous")

    def fetch(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        """For the accesses of long requests; nothing waits here, so it comes too late for one."""
        self._worker.start(self.fetch_async(key), lambda found: None)
        return False

    async def confirm_async(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        if (write := plain_write(head, stored)) is not None and await self._confirm_directly(write):
            return True
        settings = self._worker.host.world.settings
        if await self._carry(head, stored):
            return True
        ahead = self._worker.host.world.plan.ahead
        keys = [key for key, *_ in stored] if ahead and len(stored) <= AHEAD_KEYS_MAX else []
        arguments = (head, settings.ack == "all", int(settings.ack_timeout_s * 1000), ends, keys)
        answer = await Ask(
            self._worker, Operation.CONFIRM, arguments, settings.ack_timeout_s
        )
        peers = answer if isinstance(answer, int) else -1
        self._worker.host.confirmed(head, peers)
        return peers >= 0

    async def _confirm_directly(self, write: PlainWrite) -> bool:
        worker, world = self._worker, self._worker.host.world
        peers = self._direct_peers.whom_to_ask(write) if world.plan.direct else ()
        if not peers or not await DirectAsk(worker, write, peers):
            return False
        world.marks["write confirmed directly"] += 1
        worker.host.confirmed(write.seq, len(peers))
        self.feed_moved(write.seq)
        return True

    async def _carry(self, head: int, stored: Sequence[Stored]) -> bool:
        """Do what ``worker.store_way`` does."""
        host, world = self._worker.host, self._worker.host.world
        write = plain_write(head, stored) if world.store is not None else None
        granted = None if write is None or world.settings.ack != "one" else self._grant()
        if write is None or granted is None or granted.node != write.node:
            return False
        if await Carry(self._worker, write, granted.run) is not True:
            self._granted, self._rests_until_s = None, world.timeline.now_s + 1.0
            return False
        if world.random_int(20):
            self._tell_later(encode_request(
                Operation.FEED_MOVED, 0, head, granted.number, [head]
            ))
        host.confirmed(head, 1)
        return True

    def _tell_later(self, data: bytes) -> None:
        world, host = self._worker.host.world, self._worker.host

        def tell() -> None:
            if host.agent is not None and host.agent.alive:
                host.agent.request(data, None)

        world.timeline.later(
            world.random_int(10) / 1000, lambda: host.do(lambda: self._worker.alive and tell())
        )

    def _grant(self) -> Granted | None:
        host, now_s = self._worker.host, self._worker.host.world.timeline.now_s
        if now_s < self._rests_until_s:
            return None
        if self._granted is None or self._granted.until_s < now_s:
            agent = host.agent
            number = agent.engine.grant_number() if agent is not None and agent.alive else None
            self._granted = None
            if agent is not None and number is not None and agent.line is not None:
                own = agent.engine.context.own.node
                self._granted = Granted(number, own, agent.line.run, now_s + GRANT_S)
        return self._granted

    async def fetch_async(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        host, timeline = self._worker.host, self._worker.host.world.timeline
        until_s = timeline.now_s + self.contact.patience_s()
        while not host.has_agent and timeline.now_s < until_s:
            await Sleep(self._worker, RECONNECT_S)
        timeout_s = host.world.settings.fetch_timeout_s + GRACE_S
        arguments = (key, VERSIONS.pack(wanted))
        agent, asked_s, disturbances = host.agent, timeline.now_s, host.world.disturbances
        found = await Ask(self._worker, Operation.FETCH, arguments, timeout_s) is True
        undisturbed = agent is host.agent and host.has_agent
        undisturbed &= disturbances == host.world.disturbances
        if undisturbed and timeline.now_s - asked_s > timeout_s - GRACE_S / 2:
            raise Violation(f"{host.name} waited for {key[:6]} longer than it may")
        if found:
            host.world.marks["session fetched from a peer"] += 1
        else:
            self.contact.waited_for(key)
        return found

    def gather(self, principal: str) -> bool:
        raise NotImplementedError("requests here are asynchronous")

    async def gather_async(self, principal: str) -> bool:
        """Do what ``worker.agent_client`` does, and look at once that nobody waits for long."""
        world = self._worker.host.world
        if not world.settings.store:
            return True
        timeout_s = world.settings.fetch_timeout_s + GRACE_S
        agent, asked_s = self._worker.host.agent, world.timeline.now_s
        disturbances = world.disturbances
        tag = principal_tag(principal)
        found = await Ask(self._worker, Operation.GATHER, (tag,), timeout_s) is True
        undisturbed = agent is self._worker.host.agent and self._worker.host.has_agent
        undisturbed &= disturbances == world.disturbances
        if undisturbed and world.timeline.now_s - asked_s > timeout_s - GRACE_S / 2:
            raise Violation(f"{self._worker.host.name} waited too long for a list of sessions")
        world.marks["sessions of a user gathered" if found else "sessions of a user unknown"] += 1
        return found

    def feed_moved(self, head: int) -> None:
        agent = self._worker.host.agent
        if agent is not None and agent.alive:
            agent.request(encode_request(Operation.FEED_MOVED, 0, head), None)


class Worker:
    """One worker process of a host."""

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        self.alive = True
        self.moved_ms = 0
        self._tokens = 0
        self._drawn = 0
        self._name = f"{host.name}.{number}.{host.world.next_number()}"
        self.port = Port(self)
        self.manager = SessionManager(
            host.world.settings, host.replica, host.world.signer, self.port,
            wall_ms=self.wall_ms, random_bytes=self._random_bytes,
            pause_async=lambda seconds: Sleep(self, seconds),
        )
        self.manager.open_visits.on_first = self._look_later

    def wall_ms(self) -> int:
        """What this process takes for the time: the host's, unless a test has moved its own."""
        return self.host.clock.wall_ms() + self.moved_ms

    def start(
        self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None]
    ) -> Task:
        """Begin a request."""
        task = Task(self, coroutine, done)
        task.step(None)
        return task

    def next_token(self) -> int:
        """A number for a question."""
        self._tokens += 1
        return self._tokens

    def _look_later(self) -> None:
        interval_s = self.manager.open_visits.look_interval_s
        self.host.world.timeline.later(interval_s, lambda: self.host.do(self._look))

    def _look(self) -> None:
        """Do what ``worker.access_recorder`` does."""
        if self.alive:
            world = self.host.world
            for reference in self.manager.open_visits._long:
                visit = reference()
                if visit is not None and visit.is_open and visit.key is not None:
                    # Also one that waits for its peers, or whose worker dies: it is in use.
                    world.ledger.opened_s[visit.key] = world.timeline.now_s
            with suppress(ReplicaError):
                self.manager.open_visits.record_accesses()
            self._look_later()

    def _random_bytes(self, count: int) -> bytes:
        self._drawn += 1
        return self.host.world.bytes_for(f"{self._name}.{self._drawn}", count)
