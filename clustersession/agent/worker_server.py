"""Serves workers and the command line on a unix socket."""

import asyncio
import itertools
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from clustersession.agent.copies import copies_of
from clustersession.agent.driver import Driver, moment
from clustersession.agent.pacing import Paced
from clustersession.agent.watchers import Watchers
from clustersession.agent.worker_counts import WorkerCounts
from clustersession.core.errors import WireError
from clustersession.core.revocation import TAG_BYTES
from clustersession.node.effects import Confirmed, FetchAnswered, Reply
from clustersession.wire.fields import NODES, VERSIONS
from clustersession.wire.frames import FrameDecoder, encode_frame
from clustersession.wire.local import (
    AHEAD_KEYS_MAX,
    LOCAL_BYTES_MAX,
    Operation,
    Request,
    decode_request,
    encode_answer,
)
from clustersession.wire.records import checked_integer, checked_key

WAIT_MS_MAX = 60_000
PLACES_MAX = 10_000
HELD_INTERVAL_S = 0.001

_KEEP_FILE: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""Python 3.13 and newer look at the socket's file by the name it was bound by, to remove it later.
A long path's is that of a descriptor, ``net.unix``, which may be another file's by then."""


class WorkerServer:
    """Serves the unix socket of one node."""

    def __init__(
        self,
        driver: Driver,
        *,
        status: Callable[[], dict[str, Any]],
        on_stop: Callable[[], None],
        on_workers: Callable[[int, int], None],
    ) -> None:
        self.driver = driver
        driver.answer = self.pass_on
        # Gives the node's status in plain values; stops the agent; hears how many workers are
        # attached, and how many of them were not told to stop.
        self.status = status
        self.on_stop = on_stop
        self._on_workers = on_workers
        # The engine knows each question by a number of ours, because connections number their own.
        # Who asked, and under which number, until it is answered or the connection is gone.
        self._tokens = itertools.count(1)
        self._asked: dict[int, tuple[WorkerConnection, int]] = {}
        # All that are open, and those among them that said they are workers, the oldest first.
        self._connections: set[WorkerConnection] = set()
        self._workers: list[WorkerConnection] = []
        # Set by ``start``.
        self._server: asyncio.Server | None = None
        # Set by ``close``, and never taken back.
        self._is_closed = False
        # Who is told of which sessions, and what the workers have counted, those that are gone
        # included.
        self.watchers = Watchers(driver.replica)
        driver.is_watched = self.watchers.is_watched
        self.work = WorkerCounts(self._ask_counts)
        # What workers have written to the store under a grant, until the node is told; that is once
        # for all of HELD_INTERVAL_S.
        self._held: tuple[int, list[int]] | None = None
        self._paced = Paced(HELD_INTERVAL_S, self._note_held)

    async def start(self, sock: socket.socket) -> None:
        """Serve on a listening socket, from now on if there was another; connections stay."""
        loop, before = asyncio.get_running_loop(), self._server
        self._server = await loop.create_unix_server(
            lambda: WorkerConnection(self), sock=sock, **_KEEP_FILE
        )
        if before is not None:
            before.close()

    def close(self) -> None:
        """Close the socket and every connection."""
        self._is_closed = True
        self._paced.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()

    @property
    def waiting_pids(self) -> list[int]:
        """Return those among them that wait for an agent with their store."""
        return [worker.pid for worker in self._workers if worker.waits]

    @property
    def worker_pids(self) -> list[int]:
        """Return the processes that are attached as workers."""
        return [worker.pid for worker in self._workers]

    def pass_on(self, answer: Reply) -> None:
        """Pass an answer of the engine on to whoever asked."""
        connection, token = self._asked.pop(answer.token, (None, 0))
        if connection is None:
            return
        match answer:
            case Confirmed(_, value) | FetchAnswered(_, value):
                connection.answer(token, value)
            case _:
                connection.answer(token, copies_of(self.driver.engine, answer))

    def forward(self, level: str, text: str) -> None:
        """Push a line to one worker, so that it stands once in the application's log."""
        if self._workers:
            self._workers[0].push(level, text)

    def new_token(self, connection: "WorkerConnection", token: int) -> int:
        """Remember whom an answer of the engine belongs to."""
        engine_token = next(self._tokens)
        self._asked[engine_token] = (connection, token)
        return engine_token

    def opened(self, connection: "WorkerConnection") -> None:
        """Note a new connection, or close it: one accepted before ``close`` may come after it."""
        if self._is_closed:
            connection.close()
        else:
            self._connections.add(connection)

    def attached(self, connection: "WorkerConnection") -> None:
        """Note that a connection is a worker's."""
        if connection not in self._workers:
            self._workers.append(connection)
            self._count()

    def closed(self, connection: "WorkerConnection") -> None:
        """Forget a connection that is gone, and whoever waited on it."""
        self._connections.discard(connection)
        self.watchers.forget(connection)
        for token in [t for t, (c, _) in self._asked.items() if c is connection]:
            del self._asked[token]
        if connection in self._workers:
            self._workers.remove(connection)
            self._count()

    def _count(self) -> None:
        staying = sum(not worker.stopping for worker in self._workers)
        self._on_workers(len(self._workers), staying)

    def feed_moved(self) -> None:
        """Stream what a worker has committed, and tell those who watch."""
        if self._held is not None:
            # Or it would be sent once more.
            self._paced.run()
        self.driver.feed_moved()
        self.watchers.feed_moved()

    def peers_hold(self) -> None:
        """Tell those who watch of what a worker has committed; stream it in a while."""
        self.driver.feed_moved(held=True)
        self.watchers.feed_moved()

    def held(self, grant: int, places: Sequence[int]) -> None:
        """Take note of what a worker has written to the store itself."""
        if self._held and self._held[0] != grant:
            self._paced.run()
        self._held = grant, [*(self._held[1] if self._held else ()), *places]
        self._paced.ask()

    def _note_held(self) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        at = moment()
        if self.driver.engine.note_held(*held, at):
            self.driver.pump(at)
        else:
            self.driver.feed_moved()
        self.watchers.feed_moved()

    def listen(self, pid: int, everywhere: bool) -> None:
        """Pass events to the application in a worker from now on."""
        self.watchers.listen(self._workers, pid, everywhere)

    def _ask_counts(self) -> None:
        for worker in self._workers:
            if worker.unread_bytes == 0:
                worker.push_event([])


class WorkerConnection(asyncio.Protocol):
    """Serves one connection, of a worker or of the command line."""

    def __init__(self, server: WorkerServer) -> None:
        self._server = server
        # Keeps the beginning of a request until the rest of it has come.
        self._decoder = FrameDecoder(LOCAL_BYTES_MAX)
        # None before the connection is made and after it is lost.
        self._transport: asyncio.Transport | None = None
        # Who is there, when it has said that it is a worker; 0 before, and for the command line.
        self.pid = 0
        # Whether the worker was told to stop and goes on for now.
        self.stopping = False
        # Whether the worker has another store than we have.
        self.waits = False

    def answer(self, token: int, value: object) -> None:
        """Answer one request."""
        if self._transport is not None and token:
            self._transport.write(encode_frame(encode_answer(token, value)))

    def push(self, level: str, text: str) -> None:
        """Send an event for the log."""
        if self._transport is not None:
            self._transport.write(encode_frame(encode_answer(0, [level, text])))

    def push_event(self, event: list[object]) -> None:
        """Send an event about a session."""
        if self._transport is not None:
            self._transport.write(encode_frame(encode_answer(0, event)))

    @property
    def unread_bytes(self) -> int:
        """Return about how many bytes were sent and are not read yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Close the connection after what was answered."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone; so is the worker, if it was one."""
        self._transport = None
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        """Handle the requests that have come; bytes that are none end the connection."""
        try:
            for payload in self._decoder.receive(data):
                self._handle(decode_request(payload))
        except (WireError, TypeError, ValueError, IndexError):
            self.close()

    def _handle(self, request: Request) -> None:
        """Do what is asked. Whatever is raised here ends the connection."""
        handler = _HANDLERS.get(request.operation)
        if handler is None:
            # The worker may be of a later version.
            self._server.driver.event_log.counters["requests of an unknown kind"] += 1
            self.answer(request.token, None)
        else:
            handler(self, request.token, request.argument)

    def _feed_moved(self, token: int, argument: list[Any]) -> None:
        server = self._server
        if len(argument) > 2:
            places = [checked_integer(place) for place in argument[2][:PLACES_MAX]]
            server.held(checked_integer(argument[1]), places)
        else:
            server.feed_moved()

    def _peers_hold(self, token: int, argument: list[Any]) -> None:
        self._server.peers_hold()

    def _grant(self, token: int, argument: list[Any]) -> None:
        self.answer(token, self._server.driver.grant())

    def _confirm(self, token: int, argument: list[Any]) -> None:
        head, all_peers, timeout_ms = argument[:3]
        keys = argument[4][:AHEAD_KEYS_MAX] if len(argument) > 4 else []
        keys, server = [checked_key(key) for key in keys], self._server
        wait_s = min(checked_integer(timeout_ms), WAIT_MS_MAX) / 1000
        server.driver.engine.confirm(
            server.new_token(self, token), checked_integer(head),
            all_peers=bool(all_peers), deadline_s=time.monotonic() + wait_s,
            ends=len(argument) > 3 and argument[3] is True,
            keys=keys,
        )
        server.feed_moved()

    def _fetch(self, token: int, argument: list[Any]) -> None:
        key, server, at = checked_key(argument[0]), self._server, moment()
        wanted = VERSIONS.unpack(argument[1]) if len(argument) > 1 else {}
        server.driver.engine.fetch(server.new_token(self, token), key, wanted, at)
        server.driver.pump(at)

    def _gather(self, token: int, argument: list[Any]) -> None:
        tag, server, at = argument[0], self._server, moment()
        if not isinstance(tag, bytes) or len(tag) != TAG_BYTES:
            raise WireError("no tag of a user")
        server.driver.engine.gather(server.new_token(self, token), tag, at)
        server.driver.pump(at)

    def _attach(self, token: int, argument: list[Any]) -> None:
        self.pid = checked_integer(argument[0])
        self.stopping = len(argument) > 1 and argument[1] is True
        self.waits = len(argument) > 2 and argument[2] is True
        self._server.attached(self)
        self.answer(token, True)

    def _status(self, token: int, argument: list[Any]) -> None:
        self.answer(token, self._server.status())
        self._server.work.ask()

    def _report(self, token: int, argument: list[Any]) -> None:
        self._server.work.add(dict(argument[0]))

    def _drain(self, token: int, argument: list[Any]) -> None:
        driver, at = self._server.driver, moment()
        driver.engine.drain(at)
        driver.pump(at)
        self.answer(token, True)

    def _stop(self, token: int, argument: list[Any]) -> None:
        self.answer(token, True)
        self._server.on_stop()

    def _watch(self, token: int, argument: list[Any]) -> None:
        key = checked_key(argument[0])
        self.answer(token, self._server.watchers.watch(self, token, key) or None)

    def _unwatch(self, token: int, argument: list[Any]) -> None:
        self._server.watchers.unwatch(self, checked_integer(argument[0]))

    def _events(self, token: int, argument: list[Any]) -> None:
        self.answer(token, [list(event) for event in self._server.driver.event_log.recent])

    def _locate(self, token: int, argument: list[Any]) -> None:
        key, timeout_ms = argument[:2]
        server, at = self._server, moment()
        deadline_s = at.now_s + min(checked_integer(timeout_ms), WAIT_MS_MAX) / 1000
        server.driver.engine.locator.locate(
            server.new_token(self, token), checked_key(key), deadline_s
        )
        server.driver.pump(at)

    def _dismiss(self, token: int, argument: list[Any]) -> None:
        driver, at = self._server.driver, moment()
        driver.engine.dismiss(NODES.unpack(argument[0]), at)
        driver.pump(at)
        self.answer(token, True)

    def _listen(self, token: int, argument: list[Any]) -> None:
        everywhere, pid = argument[:2]
        self._server.listen(checked_integer(pid), bool(everywhere))
        self.answer(token, True)

_HANDLERS: Mapping[int, Callable[[WorkerConnection, int, list[Any]], None]] = {
    Operation.FEED_MOVED: WorkerConnection._feed_moved,
    Operation.CONFIRM: WorkerConnection._confirm,
    Operation.FETCH: WorkerConnection._fetch,
    Operation.ATTACH: WorkerConnection._attach,
    Operation.STATUS: WorkerConnection._status,
    Operation.REPORT: WorkerConnection._report,
    Operation.DRAIN: WorkerConnection._drain,
    Operation.STOP: WorkerConnection._stop,
    Operation.WATCH: WorkerConnection._watch,
    Operation.UNWATCH: WorkerConnection._unwatch,
    Operation.EVENTS: WorkerConnection._events,
    Operation.LOCATE: WorkerConnection._locate,
    Operation.LISTEN: WorkerConnection._listen,
    Operation.GATHER: WorkerConnection._gather,
    Operation.GRANT: WorkerConnection._grant,
    Operation.PEERS_HOLD: WorkerConnection._peers_hold,
    Operation.DISMISS: WorkerConnection._dismiss,
}
