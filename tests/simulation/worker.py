"""A worker process: the real session manager, and requests as coroutines driven by hand.

Where a worker of the product awaits its agent, ``Ask`` is awaited here; there is no event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from clustersession.core.errors import ReplicaError
from clustersession.core.serving_view import VIEW_NOTE, View
from clustersession.session.cluster_port import NOTHING_MORE
from clustersession.session.manager import SessionManager
from clustersession.wire.fields import VERSIONS
from clustersession.wire.local import Operation, decode_answer, encode_request
from clustersession.worker.contact import AgentContact

if TYPE_CHECKING:
    from tests.simulation.host import Host

UNIX_LATENCY_S = 0.0001
RECONNECT_S = 0.02
GRACE_S = 0.05


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
        host = worker.host
        self.contact = AgentContact(
            host.replica, lambda: host.has_agent, lambda: host.world.timeline.now_s,
            host.clock.wall_ms,
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

    def confirm(self, head: int) -> bool:
        raise NotImplementedError("requests here are asynchronous")

    def fetch(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        raise NotImplementedError("requests here are asynchronous")

    async def confirm_async(self, head: int) -> bool:
        settings = self._worker.host.world.settings
        arguments = (head, settings.ack == "all", int(settings.ack_timeout_s * 1000))
        answer = await Ask(
            self._worker, Operation.CONFIRM, arguments, settings.ack_timeout_s
        )
        peers = answer if isinstance(answer, int) else -1
        self._worker.host.confirmed(head, peers)
        return peers >= 0

    async def fetch_async(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        host, timeline = self._worker.host, self._worker.host.world.timeline
        until_s = timeline.now_s + self.contact.patience_s()
        while not host.has_agent and timeline.now_s < until_s:
            await Sleep(self._worker, RECONNECT_S)
        timeout_s = host.world.settings.fetch_timeout_s + GRACE_S
        arguments = (key, VERSIONS.pack(wanted))
        found = await Ask(self._worker, Operation.FETCH, arguments, timeout_s) is True
        if found:
            host.world.marks["session fetched from a peer"] += 1
        else:
            self.contact.waited_for(key)
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
