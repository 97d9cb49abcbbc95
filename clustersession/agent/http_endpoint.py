"""Serves HTTP: /metrics for Prometheus, /live and /ready for whoever watches nodes.

One request per connection. A client costs at most HEAD_BYTES_MAX, one answer and CLIENT_S; one more
than CLIENTS_MAX pushes the oldest out. The metrics are rendered once a second at most, and with a
look at the event loop after each, so that heartbeats do not wait however many members there are.

The servers of prometheus-client bound none of this (measured with 0.26). ``start_http_server`` has
a thread for each connection and no time limit: 1,000 silent clients were 1,000 threads, half a head
was held for ever; and it would read the node's state beside the event loop. ``make_asgi_app`` and
the handler for aiohttp need a server in the agent, which brings no limit on slow heads either, and
render everything at once: 130 ms without a heartbeat for 512 peers, where ours takes 20 at a time.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, cast

from clustersession.agent.event_log import EventLog
from clustersession.agent.metrics_exposition import CONTENT_TYPE, exposed
from clustersession.core.identity import Phase
from clustersession.net.host_header import may_be_of_a_foreign_site

HEAD_BYTES_MAX = 8192
CLIENTS_MAX = 32
CLIENT_S = 5.0
KEPT_S = 1.0
COUNTS_WAIT_S = 0.05
LISTEN_AGAIN_S = 5.0
_PLAIN = "text/plain; charset=utf-8"
_FOREIGN = b"The metrics are not told under this host name. Add it to metrics_hosts.\n"

logger = logging.getLogger("clustersession.agent")


class Endpoint:
    """Serves on a port of its own, from the agent's event loop.

    ask: has the workers tell their counts. status: everything that is known of the node. hosts:
    names with dots under which the metrics may be asked for.

    State: ``_clients`` are the open connections, the oldest first, CLIENTS_MAX at most.
    ``_rendering`` is the last rendering of the metrics, running or done; None before the first.
    ``_rendered_s`` is when it was done, on the monotonic clock.
    """

    def __init__(
        self,
        bind: str,
        port: int,
        event_log: EventLog,
        *,
        ask: Callable[[], None],
        status: Callable[[], Mapping[str, Any]],
        phase: Callable[[], Phase],
        hosts: Iterable[str] = (),
    ) -> None:
        self._bind = bind
        self._port = port
        self._event_log = event_log
        self._ask = ask
        self._status = status
        self._phase = phase
        self._hosts = {name.lower() for name in (socket.gethostname(), *hosts)}
        # Open connections, the oldest first; at most CLIENTS_MAX.
        self._clients: dict[Client, None] = {}
        # The last rendering of the metrics, done or under way, which all share who ask meanwhile;
        # and when it was done, for KEPT_S.
        self._rendering: asyncio.Task[bytes] | None = None
        self._rendered_s = float("-inf")

    async def run(self) -> None:
        """Serve until cancelled; a port that is taken is tried again: a leaving agent has it."""
        loop, server = asyncio.get_running_loop(), None
        while server is None:
            try:
                server = await loop.create_server(
                    lambda: Client(self), self._bind, self._port, backlog=CLIENTS_MAX
                )
            except OSError as error:
                self._event_log.seldom(
                    "error", "endpoint_failed",
                    f"no metrics: cannot listen on {self._bind} port {self._port} (settings "
                    f"metrics_bind and metrics_port; each application's node of a host needs a "
                    f"port of its own): {error.strerror or error}",
                )
                await asyncio.sleep(LISTEN_AGAIN_S)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for client in list(self._clients):
                client.abort()
            if self._rendering is not None:
                self._rendering.cancel()

    async def answer(self, head: bytes) -> tuple[HTTPStatus, str, bytes]:
        """Answer a request, given to the end of its head, with status, content type and body."""
        method, path = _request_line(head)
        if not method:
            return HTTPStatus.BAD_REQUEST, _PLAIN, b"not a request\n"
        if method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, _PLAIN, b"only GET and HEAD\n"
        match path.partition("?")[0]:
            case "/metrics":
                # A browser always sends one. Checks of life need none: they tell nothing.
                if any(may_be_of_a_foreign_site(host, self._hosts) for host in _hosts(head)):
                    return HTTPStatus.MISDIRECTED_REQUEST, _PLAIN, _FOREIGN
                return HTTPStatus.OK, CONTENT_TYPE, await self._metrics()
            case "/live":
                return HTTPStatus.OK, _PLAIN, b"alive\n"
            case "/ready":
                phase = self._phase()
                ready = phase is Phase.READY
                code = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
                return code, _PLAIN, phase.name.lower().encode() + b"\n"
        return HTTPStatus.NOT_FOUND, _PLAIN, b"/metrics, /live or /ready\n"

    def opened(self, client: "Client") -> None:
        """Note a connection; one too many pushes the oldest out."""
        if len(self._clients) >= CLIENTS_MAX:
            next(iter(self._clients)).abort()
        self._clients[client] = None

    def closed(self, client: "Client") -> None:
        """Forget a connection."""
        self._clients.pop(client, None)

    async def _metrics(self) -> bytes:
        rendering = self._rendering
        old = time.monotonic() - self._rendered_s >= KEPT_S
        if rendering is None or (rendering.done() and (old or rendering.exception() is not None)):
            rendering = asyncio.get_running_loop().create_task(self._render())
            self._rendering = rendering
        # Whoever goes away must not end it for the others.
        return await asyncio.shield(rendering)

    async def _render(self) -> bytes:
        self._ask()
        await asyncio.sleep(COUNTS_WAIT_S)
        parts: list[bytes] = []
        for part in exposed(self._status()):
            parts.append(part)
            await asyncio.sleep(0)
        self._rendered_s = time.monotonic()
        return b"".join(parts)


class Client(asyncio.Protocol):
    """Handles one connection, which brings one request.

    State: ``_transport`` until the connection is gone; ``_head``, what came of the request so far;
    ``_answering`` from the end of the head on; ``_timer``, which ends the connection.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        # None before the connection is made and after it is lost.
        self._transport: asyncio.Transport | None = None
        # The request's head as far as it has come, HEAD_BYTES_MAX and a bit at most.
        self._head = bytearray()
        # The answer, from the end of the head on; there is one in the life of a connection.
        self._answering: asyncio.Task[None] | None = None
        # Ends the connection after CLIENT_S, whatever has happened by then.
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the time that the client has."""
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(CLIENT_S, self.abort)
        self._endpoint.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take a part of the request; what follows its head is of no interest."""
        if self._answering is not None or self._transport is None:
            return
        self._head += data[: HEAD_BYTES_MAX + 1]
        head, end, _ = bytes(self._head).partition(b"\r\n\r\n")
        if len(self._head) > HEAD_BYTES_MAX:
            self._write(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _PLAIN, b"")
        elif end:
            self._answering = asyncio.get_running_loop().create_task(self._answer(head))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop whatever was still going on for the client."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._answering is not None:
            self._answering.cancel()
        self._endpoint.closed(self)

    def abort(self) -> None:
        """End the connection, answered or not."""
        self._endpoint.closed(self)
        if self._transport is not None:
            self._transport.abort()

    async def _answer(self, head: bytes) -> None:
        try:
            code, content_type, body = await self._endpoint.answer(head)
        except Exception:
            logger.exception("a request %r could not be answered", head[:100])
            code, content_type = HTTPStatus.INTERNAL_SERVER_ERROR, _PLAIN
            body = b"see the log\n"
        self._write(code, content_type, body, without_body=head.startswith(b"HEAD "))

    def _write(
        self, code: HTTPStatus, content_type: str, body: bytes, *, without_body: bool = False
    ) -> None:
        if self._transport is None:
            return
        head = (
            f"HTTP/1.1 {code.value} {code.phrase}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + (b"" if without_body else body))
        # Not ``abort``: the timer does that to whoever does not read.
        self._transport.close()


def _hosts(head: bytes) -> Iterator[str]:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"host":
            yield value.strip().decode("latin-1")


def _request_line(head: bytes) -> tuple[str, str]:
    """Return method and path; two empty texts for what is no request."""
    line = head.partition(b"\r\n")[0]
    parts = line.split(b" ")
    if len(parts) != 3 or parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        return "", ""
    try:
        method, path = parts[0].decode("ascii"), parts[1].decode("ascii")
    except UnicodeDecodeError:
        return "", ""
    return (method, path) if method.isalpha() and path.startswith("/") else ("", "")
