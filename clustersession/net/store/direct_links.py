"""Connects a worker to the server of its store that its agent has: blocking links, and one for each
event loop.

Each is greeted as the agent's is, and shown to be with the same run of the same server. Nothing is
tracked here: what others change is told to the agent.
"""

import asyncio
import os
import socket
import time
from collections import deque
from contextlib import suppress
from typing import Any, Final

from clustersession.core.errors import StoreError, StoreErrorKind, WireError
from clustersession.net.idle_links import IdleLinks
from clustersession.net.per_loop import PerLoop
from clustersession.net.store.connection import StoreConnection, StoreLimits
from clustersession.net.store.grant import Grant
from clustersession.net.store.greeting import check_run, greeting, tls_context
from clustersession.net.store.resp import PushMessage, RespDecoder, command
from clustersession.settings.store_url import StoreUrl

LINKS_MAX: Final = 64
_RECEIVE_BYTES: Final = 16 * 2**10
_NUMBERS: Final = {b":1\r\n": 1, b":0\r\n": 0}
"""What most calls answer, read at a fraction of the price."""


class DirectLink:
    """Is one blocking connection: one call at a time.

    _pid: the process that made it; a child of a fork has the same socket, and must not use it.
    _found: answers that came before anybody looked at them.
    """

    def __init__(self, url: StoreUrl, grant: Grant, timeout_s: float) -> None:
        """Connect. Raises StoreError and OSError."""
        self.grant = grant
        self._pid = os.getpid()
        self._decoder = RespDecoder()
        self._found: deque[Any] = deque()
        deadline_s = time.monotonic() + timeout_s
        self._socket = _connect(url, grant, timeout_s)
        try:
            commands = [*greeting(url), command("INFO", "server")]
            self._socket.sendall(b"".join(commands))
            replies = [self._answer(deadline_s) for _ in commands]
            check_run(replies, url, str(grant.address), grant.run_id)
        except BaseException:
            self._socket.close()
            raise

    @property
    def is_ours(self) -> bool:
        """Tell whether this process has made it."""
        return self._pid == os.getpid()

    def ask(self, data: bytes, timeout_s: float) -> Any:
        """Send one command; return its answer. Raises StoreError, OSError; then drop the link."""
        deadline_s = time.monotonic() + timeout_s
        self._socket.settimeout(timeout_s)
        self._socket.sendall(data)
        received = self._socket.recv(_RECEIVE_BYTES)
        # Nothing is left of before: a link whose answer did not come is dropped.
        number = _NUMBERS.get(received)
        if number is not None:
            return number
        self._take(received)
        return self._answer(deadline_s)

    def _take(self, received: bytes) -> None:
        if not received:
            raise ConnectionError("the store closed the connection")
        try:
            self._found += (
                each for each in self._decoder.feed(received) if not isinstance(each, PushMessage)
            )
        except WireError as error:
            raise StoreError(str(error)) from None

    def _answer(self, deadline_s: float) -> Any:
        while not self._found:
            if time.monotonic() > deadline_s:
                raise TimeoutError("the store does not answer in time")
            self._take(self._socket.recv(_RECEIVE_BYTES))
        return self._found.popleft()

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()


def _connect(url: StoreUrl, grant: Grant, timeout_s: float) -> socket.socket:
    host, port = grant.address
    if port:
        raw = socket.create_connection((host, port), timeout_s)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        raw.settimeout(timeout_s)
        if not port:
            raw.connect(host)
        context = tls_context(url)
        return raw if context is None else context.wrap_socket(raw, server_hostname=host)
    except BaseException:
        raw.close()
        raise


class DirectLinkPool:
    """Lends links to the threads of one worker.

    _idle: links that nobody uses, at most LINKS_MAX. One whose call failed is closed and never
    comes back, and the others go with it: they lead to the same server.
    """

    def __init__(self, url: StoreUrl) -> None:
        self._url = url
        self._idle: IdleLinks[DirectLink] = IdleLinks(LINKS_MAX)

    def ask(self, grant: Grant, data: bytes, timeout_s: float, connect_timeout_s: float) -> Any:
        """Send one command to the server of a grant; return its answer.

        Raises StoreError and OSError.
        """
        link = self._take(grant) or DirectLink(self._url, grant, connect_timeout_s)
        try:
            answer = link.ask(data, timeout_s)
        except BaseException:
            link.close()
            self.close()
            raise
        self._idle.give(link)
        return answer

    def _take(self, grant: Grant) -> DirectLink | None:
        while (link := self._idle.take()) is not None:
            if link.is_ours and link.grant.run_id == grant.run_id:
                return link
            # In a child of a fork that closes its own descriptor alone.
            link.close()
        return None

    def close(self) -> None:
        """Close the idle links."""
        self._idle.close()


class LoopConnections:
    """Keeps one connection for each event loop of one worker, from its first use to the loop's end.

    _connections: by loop, with the run that it was opened for. _opening: who opens one.
    """

    def __init__(self, url: StoreUrl, limits: StoreLimits) -> None:
        self._url = url
        self._limits = limits
        self._connections: PerLoop[tuple[str, StoreConnection]] = PerLoop(_release)
        self._opening: set[int] = set()

    async def ask(self, grant: Grant, data: bytes, timeout_s: float) -> Any:
        """Send one command; return its answer. Raises StoreError; also while one is opened."""
        loop = asyncio.get_running_loop()
        run_id, connection = self._connections.find(loop) or ("", None)
        if connection is None or run_id != grant.run_id or not connection.is_open:
            connection = await self._open(loop, grant, connection)
        future = connection.ask([data])
        timer = loop.call_later(timeout_s, _time_out, future)
        try:
            [answer] = await future
        finally:
            timer.cancel()
        return answer

    async def _open(
        self, loop: asyncio.AbstractEventLoop, grant: Grant, before: StoreConnection | None
    ) -> StoreConnection:
        if id(loop) in self._opening:
            raise StoreError("a connection to the store is being made")
        self._opening.add(id(loop))
        try:
            if before is not None:
                before.abort(StoreError("closed"))
            connection = StoreConnection(
                grant.address, self._limits, lambda parts: None, lambda error: None,
                tls=self._url.tls,
            )
            try:
                await connection.connect(tls_context(self._url))
                replies = await connection.ask([*greeting(self._url), command("INFO", "server")])
                check_run(replies, self._url, str(grant.address), grant.run_id)
            except BaseException:
                connection.abort(StoreError("the store was not opened"))
                raise
            await self._connections.keep((grant.run_id, connection))
            return connection
        finally:
            self._opening.discard(id(loop))

    def close(self) -> None:
        """Close the connections of all loops."""
        self._connections.close()


def _release(loop: asyncio.AbstractEventLoop, kept: tuple[str, StoreConnection]) -> None:
    # Of a loop that was closed before us, nothing is left to wait for the goodbye.
    with suppress(RuntimeError):
        kept[1].abort(StoreError("closed"))


def _time_out(future: "asyncio.Future[list[Any]]") -> None:
    if not future.done():
        future.set_exception(
            StoreError("the store does not answer in time", StoreErrorKind.TIMEOUT)
        )
