"""Keeps what an MCP server sends in the session, so that a client can resume at another node.

    server.streamable_http_app(event_store=ClusterEventStore())

A client whose stream broke names the last event that it got (``Last-Event-ID``). Each transport
writes a log of its own, one attribute of the session, so that two nodes never write the same one.
Whoever replays another transport's log goes on to read it until the answer is there, or the node
that was to give it is not, which is then the answer.

What is bounded: the events and the bytes of each log, of which the oldest go first, the logs of a
session, and how long a replay follows another node's log.
"""

import json
import logging
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_type_hints

import anyio
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from pydantic import TypeAdapter

from clustersession.core.errors import ReplicaError, SessionError
from clustersession.mcp.transports import Transport, current_transport
from clustersession.session.session import Session
from clustersession.session.visit import Visit
from clustersession.worker.runtime import Runtime

LOG_PREFIX = "mcp.events."
LOGS_MAX = 4
"""Of one session: a client that moves on for the fifth time has long resumed the first."""

FOLLOW_S = 60.0
LOOK_S = 0.1
"""A log is read in the replica, which costs no message."""

_log = logging.getLogger("clustersession")

_STANDALONE = "_GET_stream"
"""The SDK's name of the stream that belongs to no request."""

_NAMESPACE = re.compile(r"(\d{1,3}):")
"""FastMCP puts a name for each transport before a stream's, with its length before that."""

_LOST = -32000
"""JSON-RPC 2.0, section 5.1: the first code that is a server's own."""

_message: TypeAdapter[Any] = TypeAdapter(get_type_hints(EventMessage)["message"])

Event = tuple[int, str, str]
"""Number, stream and JSON text; an empty text is of an event without a message."""


class TransportLog:
    """Is what one transport has sent.

    namespace: what stands before the names of its streams, see _NAMESPACE.
    """

    def __init__(self, transport: Transport, events_max: int, bytes_max: int) -> None:
        self._transport = transport
        self._bytes_max = bytes_max
        self._writing = anyio.Lock()
        self._number = 0
        self.events: deque[Event] = deque(maxlen=events_max)
        self.namespace = ""

    def append(self, stream: str, text: str) -> str:
        """Note an event and return its id."""
        self._number += 1
        self.events.append((self._number, stream, text))
        while sum(len(text) for _, _, text in self.events) > self._bytes_max:
            self.events.popleft()
        return f"{self._transport.token}-{self._number}"

    async def store(self) -> None:
        """Store the log in the session. What cannot be stored is logged, and kept here."""
        transport = self._transport
        if not transport.session_id:
            return  # its handshake is under way
        try:
            async with self._writing, stored_session(transport) as session:
                if session is not None:
                    self._put_into(session, transport.runtime)
        except (SessionError, ReplicaError) as error:
            _log.warning("an event of MCP could not be stored for other nodes: %s", error)

    def _put_into(self, session: Session, runtime: Runtime) -> None:
        manager = runtime.manager()
        name = LOG_PREFIX + self._transport.token
        others = [other for other in session if other.startswith(LOG_PREFIX) and other != name]
        others.sort(key=lambda other: int(session[other]["at_ms"]), reverse=True)
        for oldest in others[LOGS_MAX - 1 :]:
            del session[oldest]
        session[name] = {
            "route": manager.cluster.route, "at_ms": manager.now_ms(),
            "events": [list(event) for event in self.events],
        }  # fmt: skip


class ClusterEventStore(EventStore):
    """Is the SDK's event store, for applications inside ClusterMCPMiddleware.

    events_max: of one log. bytes_max: of its messages; keep it well below ``session_bytes_max`` and
    ``attribute_bytes_max``. An answer that is larger is told to whoever resumes as an error.
    """

    def __init__(self, *, events_max: int = 50, bytes_max: int = 32 * 1024) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max

    async def store_event(self, stream_id: str, message: Any) -> str:
        """Store an event before it is sent; return its id."""
        transport, log = self._current()
        name = self._without_namespace(log, stream_id)
        if transport.repeating:
            return f"{transport.token}-0"
        text = "" if message is None else message.model_dump_json(by_alias=True, exclude_unset=True)
        if len(text) > self._bytes_max:
            text = self._instead_of(text)
        identifier = log.append(name, text)
        await log.store()
        return identifier

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        """Send what came after an event in its stream; return the stream if it goes on here."""
        transport, log = self._current()
        token, _, number = last_event_id.rpartition("-")
        if not number.isdecimal() or not number.isascii():
            return None
        replay = _Replay(transport, token, int(number[:18]), send_callback)
        goes_on = await replay.run()
        if goes_on or log.namespace:
            # FastMCP sends nothing of what was replayed unless it is told the stream.
            return None if replay.stream is None else log.namespace + replay.stream
        return None

    def _current(self) -> tuple[Transport, TransportLog]:
        transport = current_transport()
        if transport is None:
            raise RuntimeError(
                "ClusterEventStore works inside of ClusterMCPMiddleware: wrap the application of "
                "the MCP server in it"
            )
        if transport.log is None:
            transport.log = TransportLog(transport, self._events_max, self._bytes_max)
        return transport, transport.log

    def _without_namespace(self, log: TransportLog, stream_id: str) -> str:
        match = _NAMESPACE.match(stream_id)
        end = 0 if match is None else match.end() + int(match[1])
        if match is not None and stream_id[end : end + 1] == ":":
            log.namespace = stream_id[: end + 1]
        return stream_id.removeprefix(log.namespace)

    def _instead_of(self, text: str) -> str:
        message = json.loads(text)
        if "method" in message:
            return ""
        return _error(message["id"], f"the answer has more than {self._bytes_max} bytes, and such "
                      "are not kept for clients that resume")  # fmt: skip


class _Replay:
    """Sends a client what it missed of one stream.

    stream: its name, None when the event is not known. _is_served: the node that writes the log
    was alive when it was read; _is_gone: it was not when the log was read for the last time.
    """

    def __init__(
        self, transport: Transport, token: str, number: int, send: EventCallback
    ) -> None:
        self._transport = transport
        self._token = token
        self._number = number
        self._send = send
        self._is_served = True
        self._is_gone = False
        self.stream: str | None = None

    async def run(self) -> bool:
        """Tell whether the stream is of this transport, which goes on to serve it."""
        own = self._token == self._transport.token
        events = list(self._transport.log.events) if own else await self._read()
        stream = next((event[1] for event in events if event[0] == self._number), None)
        self.stream = stream
        if stream is None:
            return False
        with anyio.move_on_after(FOLLOW_S):
            while not await self._send_after(events, stream):
                if own or stream == _STANDALONE:
                    return True
                if self._is_gone:
                    await self._give_up(stream)
                    return False
                await anyio.sleep(LOOK_S)
                self._is_gone = not self._is_served  # what it wrote last comes before that
                events = await self._read()
        return False

    async def _read(self) -> list[Event]:
        async with stored_session(self._transport) as session:
            log = None if session is None else session.get(LOG_PREFIX + self._token)
        self._is_served = log is not None and (
            log["route"] in self._transport.runtime.manager().cluster.serving_routes()
        )
        return [] if log is None else [(event[0], event[1], event[2]) for event in log["events"]]

    async def _send_after(self, events: list[Event], stream: str) -> bool:
        """Send the events that are new; True when the stream's answer was among them."""
        answered = False
        for number, of_stream, text in events:
            if number <= self._number or of_stream != stream:
                continue
            self._number = number
            if text:
                message = _message.validate_json(text)
                await self._send(EventMessage(message, f"{self._token}-{number}"))
                answered = answered or "method" not in json.loads(text)
        return answered and stream != _STANDALONE

    async def _give_up(self, stream: str) -> None:
        request_id = int(stream) if stream.isdecimal() else stream
        text = _error(request_id, "the node that ran this request is gone, and its answer with it")
        await self._send(EventMessage(_message.validate_json(text), None))


def _error(request_id: int | str | None, text: str) -> str:
    error = {"code": _LOST, "message": text}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error})


@asynccontextmanager
async def stored_session(transport: Transport) -> AsyncIterator[Session | None]:
    """Open the session of a transport outside of its requests; None when it has ended.

    What was changed is committed at the end.
    """
    manager = transport.runtime.manager()
    visit: Visit = manager.open([transport.session_id])
    try:
        if visit.missing:
            await manager.fetch_async(visit)
        session = visit.session
        assert isinstance(session, Session)
        yield None if session.new else session
        if not session.new and session.modified:
            await manager.save_async(visit)
    finally:
        manager.close(visit)
