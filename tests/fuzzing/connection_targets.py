"""What stands behind a socket: a worker's connection, an agent's answers, a link, a datagram."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any
from zlib import crc32

from clustersession.agent.worker_server import WorkerConnection, WorkerServer
from clustersession.core.errors import WireError
from clustersession.net.agent_link import AsyncLink
from clustersession.net.link import Link, LinkLimits
from clustersession.node.effects import Reply
from clustersession.node.engine import Engine
from clustersession.node.moment import Moment
from clustersession.node.news import MessageDropped
from clustersession.wire.envelope import Opened, Opener, Sealer
from clustersession.wire.frames import encode_frame
from clustersession.wire.local import encode_answer
from clustersession.wire.messages import Hello, decode_message, encode_message
from tests.fuzzing import samples, wire_targets
from tests.fuzzing.bounds import check_bounds
from tests.fuzzing.stream_targets import CLUSTER, keys
from tests.fuzzing.target import Broken, Target
from tests.node.world import World

LIMITS = LinkLimits(frame_bytes_max=4096, hello_bytes_max=512)
_WORKER_PID = 4711


class Transport(asyncio.Transport):
    """Keeps nothing but whether it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.written = 0

    def write(self, data: Any) -> None:
        """Count."""
        self.written += len(data)

    def close(self) -> None:
        """Remember."""
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing waits here."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits here."""
        return 0

    def pause_reading(self) -> None:
        """Whoever feeds goes on."""

    resume_reading = pause_reading


def pieces(data: bytes) -> list[bytes]:
    """The data as a stream delivers it, the same way each time."""
    rng = Random(crc32(data))
    found, position = [], 0
    while position < len(data):
        end = position + 1 + int(rng.random() * rng.choice((3, 50, 70_000)))
        found.append(data[position:end])
        position = end
    return found


class _Driver:
    """What a worker's connection needs of the driver: an engine, and its answers handed over."""

    def __init__(self) -> None:
        self.world = World("ab")
        self.world.start()
        self.world.run(2)
        self.engine: Engine = self.world.nodes["a"].running
        self.replica = self.world.nodes["a"].replica
        self.answer: Callable[[Reply], None]
        self.event_log = SimpleNamespace(counters=Counter(), recent=[])

    def grant(self) -> None:
        """Grant nothing: there is no store."""

    def feed_moved(self, *, held: bool = False) -> None:
        """Stream, as the driver does in the next turn of its loop, or in a while."""
        self.engine.feed_moved(self.world.at(self.world.nodes["a"]))
        self.pump()

    def pump(self, at: Moment | None = None) -> None:
        """Hand the answers over."""
        for effect in self.engine.effects():
            if isinstance(effect, Reply):
                self.answer(effect)


class _Workers:
    """An agent's socket for workers. Nothing escapes, and a worker in order is served after it."""

    def __init__(self) -> None:
        self._driver = _Driver()
        self._server = WorkerServer(
            self._driver,  # type: ignore[arg-type]
            on_stop=lambda: None, on_workers=lambda count, staying: None,
            status=lambda: {"workers": self._server.worker_pids},
        )
        self._request = encode_frame(wire_targets.status_request(1))
        self.count = 0

    def sample(self, rng: Random) -> bytes:
        requests = (wire_targets.request(rng) for _ in range(rng.randint(1, 4)))
        return b"".join(encode_frame(request) for request in requests)

    def check(self, data: bytes) -> bool:
        connection, transport = WorkerConnection(self._server), Transport()
        connection.connection_made(transport)
        for piece in pieces(data):
            if transport.closed:
                break
            connection.data_received(piece)
        other, answers = WorkerConnection(self._server), Transport()
        other.connection_made(answers)
        other.data_received(self._request)
        if not answers.written or answers.closed:
            raise Broken("another worker is not answered any more")
        for one in (connection, other):
            one.connection_lost(None)
        self.count += 1
        if self.count % 200 == 0:
            self._expire()
        return not transport.closed

    def _expire(self) -> None:
        check_bounds(self._driver.engine)
        late = Moment(float("inf"), self._driver.world.at(self._driver.world.nodes["a"]).wall_ms)
        self._driver.engine.confirmations.expire(late)
        self._driver.engine.lookup.expire(late)
        self._driver.pump()
        if self._server._asked or self._server._connections:
            raise Broken("a connection that is gone is remembered")


class _Loop:
    """Runs one input in an event loop of its own; what is logged as an error is a finding."""

    def __init__(self, run: Callable[[bytes], Any]) -> None:
        self._run = run
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self, data: bytes) -> bool:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        # For this input only: the tests that follow in this process log on purpose.
        _LOGGER.addHandler(_ALARM)
        try:
            accepted: bool = self._loop.run_until_complete(self._run(data))
        finally:
            _LOGGER.removeHandler(_ALARM)
        return accepted


class _Alarm(logging.Handler):
    """An exception that was caught only to be logged is still one too many."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            raise Broken(f"logged: {record.getMessage()}: {record.exc_info[1]!r}")

    handleError = None  # type: ignore[assignment]


_ALARM = _Alarm()
_LOGGER = logging.getLogger("clustersession.net")


async def _read_answers(data: bytes) -> bool:
    """A worker's side: an agent that answers anything."""
    link, transport = AsyncLink(), Transport()
    link.connection_made(transport)
    waiting = [asyncio.ensure_future(link.ask(1, timeout_s=60)) for _ in range(3)]  # type: ignore
    await asyncio.sleep(0)
    for piece in pieces(data):
        if not transport.closed:
            link.data_received(piece)
    link.connection_lost(None)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    if link._waiting or len(results) != 3:
        raise Broken("somebody waits for ever")
    return not transport.closed


def _answers(rng: Random) -> bytes:
    values = (rng.choice((True, 1, -1, [], {"phase": "ready"})) for _ in range(3))
    return b"".join(
        encode_frame(encode_answer(rng.randint(0, 3), value)) for value in values
    )


async def _greet(data: bytes) -> bool:
    """The side that accepts: a hello, and messages that came along with it."""
    link, closed = Link(LIMITS), []
    link.connection_made(Transport())

    def feed(piece: bytes) -> None:
        buffer = link.get_buffer(-1)
        for start in range(0, len(piece), len(buffer)):
            part = piece[start : start + len(buffer)]
            buffer[: len(part)] = part
            link.buffer_updated(len(part))

    parts = pieces(data)
    half = len(parts) // 2 + 1
    for piece in parts[:half]:
        feed(piece)
    if len(parts) <= half:
        link.connection_lost(None)
    else:
        for piece in parts[half:-1]:
            feed(piece)
        asyncio.get_running_loop().call_soon(feed, parts[-1])
        asyncio.get_running_loop().call_soon(link.connection_lost, None)
    try:
        hello = decode_message(await link.receive_hello())
    except WireError:
        return False
    heard: list[bytes] = []
    link.start(lambda link, payload: heard.append(payload), lambda link, why: closed.append(why))
    for _ in range(3):
        await asyncio.sleep(0)
    if len(closed) != 1:
        raise Broken(f"the end was told {len(closed)} times")
    return isinstance(hello, Hello)


def _greeting(rng: Random) -> bytes:
    hello = encode_message(samples.MESSAGES["Hello"](rng))
    more = (encode_message(samples.message(rng))[:4096] for _ in range(rng.randint(0, 3)))
    return b"".join(encode_frame(payload) for payload in (hello, *more))


class _Datagrams:
    """The way of a datagram into an engine, sealed by somebody who knows the secret."""

    def __init__(self) -> None:
        self._world = World("ab")
        self._world.start()
        self._world.run(2)
        self._opener = Opener(keys(), CLUSTER)
        self._sealer = Sealer(keys(), CLUSTER, self._world.nodes["b"].replica.node, 2**50)
        self.count = 0

    def check(self, data: bytes) -> bool:
        victim = self._world.nodes["a"]
        opened = self._opener.open(self._sealer.seal(data))
        if not isinstance(opened, Opened) or opened.payload != data:
            raise Broken("what was sealed is not opened")
        at = self._world.at(victim)
        victim.running.receive(opened.sender, opened.payload, at, reliable=False)
        victim.running.effects()
        dropped = any(isinstance(told, MessageDropped) for told in victim.running.news())
        self.count += 1
        if self.count % 500 == 0:
            check_bounds(victim.running)
            self._world.run(1)
            victim.events.clear()
        return not dropped


def targets() -> list[Target]:
    """All of them."""
    workers, datagrams = _Workers(), _Datagrams()
    message = samples.message
    return [
        Target("worker.requests", workers.sample, workers.check, share=0.2),
        # The frame around it stays whole, so that what is in it gets further.
        Target(
            "worker.request", wire_targets.request,
            lambda data: workers.check(encode_frame(data)), share=0.3,
        ),
        Target("worker.answers", _answers, _Loop(_read_answers).check, share=0.1),
        Target("link.greeting", _greeting, _Loop(_greet).check, expected=False, share=0.1),
        Target(
            "datagram", lambda r: encode_message(message(r)), datagrams.check, expected=False,
            share=0.3,
        ),
    ]
