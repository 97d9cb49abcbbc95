"""Connects a worker to its agent: by blocking links from a pool, or one for an event loop."""

import asyncio
import itertools
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

from clustersession.core.errors import WireError
from clustersession.net.idle_links import IdleLinks
from clustersession.net.per_loop import PerLoop
from clustersession.net.unix import connect_unix, reachable
from clustersession.wire.frames import FrameDecoder, encode_frame
from clustersession.wire.local import LOCAL_BYTES_MAX, Operation, decode_answer, encode_request

POOL_MAX = 64
CONNECT_TIMEOUT_S = 1.0
ASK_TIMEOUT_S = 5.0


class AgentGone(ConnectionError):
    """There is no agent at the socket, or it went away before it answered."""


class BlockingLink:
    """Connects one thread to the agent: one request at a time.

    _decoder: what has arrived of the next answer stays in it between calls.
    _tokens: numbers the questions, so that a late answer to one given up is told from the next.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._socket = connect_unix(path, CONNECT_TIMEOUT_S)
        except OSError as error:
            raise AgentGone(str(error)) from None
        self._decoder = FrameDecoder(LOCAL_BYTES_MAX)
        self._tokens = itertools.count(1)

    def tell(self, operation: Operation, *argument: object) -> None:
        """Send without waiting for an answer."""
        self._send(encode_request(operation, 0, *argument))

    def ask(self, operation: Operation, *argument: object, timeout_s: float) -> Any:
        """Send and wait for the answer. Raises AgentGone or TimeoutError; then drop the link."""
        token = next(self._tokens)
        deadline_s = time.monotonic() + timeout_s
        self._send(encode_request(operation, token, *argument))
        while True:
            for payload in self._receive(deadline_s - time.monotonic()):
                answer = decode_answer(payload)
                if answer.token == token:
                    return answer.value

    def listen(self) -> list[Any]:
        """Wait without limit for events pushed by the agent. Raises AgentGone when it goes."""
        return [decode_answer(payload).value for payload in self._receive(None)]

    def close(self) -> None:
        """Release the socket, waking whoever listens on it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()

    def _send(self, request: bytes) -> None:
        try:
            self._socket.settimeout(CONNECT_TIMEOUT_S)
            self._socket.sendall(encode_frame(request))
        except OSError as error:
            raise AgentGone(str(error)) from None

    def _receive(self, timeout_s: float | None) -> list[bytes]:
        if timeout_s is not None and timeout_s <= 0:
            raise TimeoutError("the agent did not answer in time")
        try:
            self._socket.settimeout(timeout_s)
            data = self._socket.recv(65536)
        except TimeoutError:
            raise
        except OSError as error:
            raise AgentGone(str(error)) from None
        if not data:
            raise AgentGone("the agent closed the connection")
        return self._decoder.receive(data)


def ask_once(path: Path, operation: Operation, *argument: object) -> Any:
    """Ask on a connection of its own. Raises AgentGone, TimeoutError when the agent is stuck."""
    link = BlockingLink(path)
    try:
        return link.ask(operation, *argument, timeout_s=ASK_TIMEOUT_S)
    finally:
        link.close()


class LinkPool:
    """Lends blocking links to the threads of one worker. Must not be used across a fork.

    _idle: links that nobody uses, at most POOL_MAX. A link whose question failed is closed and
        never comes back; when it failed because the agent has gone, the others go with it, which
        are as dead.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: IdleLinks[BlockingLink] = IdleLinks(POOL_MAX)

    def tell(self, operation: Operation, *argument: object) -> None:
        """Send without waiting for an answer. Raises AgentGone."""
        link = self._take()
        try:
            link.tell(operation, *argument)
        except BaseException as error:
            self._drop(link, error)
            raise
        self._idle.give(link)

    def ask(self, operation: Operation, *argument: object, timeout_s: float) -> Any:
        """Send and wait for the answer. Raises AgentGone or TimeoutError."""
        link = self._take()
        try:
            value = link.ask(operation, *argument, timeout_s=timeout_s)
        except BaseException as error:
            self._drop(link, error)
            raise
        self._idle.give(link)
        return value

    def close(self) -> None:
        """Close the idle links."""
        self._idle.close()

    def _take(self) -> BlockingLink:
        return self._idle.take() or BlockingLink(self._path)

    def _drop(self, link: BlockingLink, error: BaseException) -> None:
        link.close()
        if isinstance(error, AgentGone):
            self.close()


class AsyncLink(asyncio.Protocol):
    """Connects one event loop to the agent: any number of requests at a time.

    can_watch: False once the agent refused to watch; with an older version it always will.
    _transport: the connection; None once it is lost.
    _tokens: numbers questions and watches; one number is never used twice on a connection.
    _waiting: the questions without an answer, by token; whoever asks removes its own.
    _watching: whom to wake, by the token of the watch, until ``unwatch`` or a refusal.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._decoder = FrameDecoder(LOCAL_BYTES_MAX)
        self._tokens = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._watching: dict[int, Callable[[], object]] = {}
        self.can_watch = True

    @classmethod
    async def connect(cls, path: Path) -> "AsyncLink":
        """Connect. Raises AgentGone."""
        try:
            with reachable(path) as address:
                _, link = await asyncio.get_running_loop().create_unix_connection(cls, address)
        except OSError as error:
            raise AgentGone(str(error)) from None
        return link

    @property
    def is_open(self) -> bool:
        """Tell whether the agent is still at the other end, as far as is known."""
        return self._transport is not None and not self._transport.is_closing()

    def tell(self, operation: Operation, *argument: object) -> None:
        """Send without waiting for an answer."""
        if self._transport is not None:
            self._transport.write(encode_frame(encode_request(operation, 0, *argument)))

    async def ask(self, operation: Operation, *argument: object, timeout_s: float) -> Any:
        """Send and wait for the answer. Raises AgentGone or TimeoutError."""
        if self._transport is None:
            raise AgentGone("the agent closed the connection")
        token = next(self._tokens)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[token] = future
        self._transport.write(encode_frame(encode_request(operation, token, *argument)))
        timer = self._loop.call_later(timeout_s, _time_out, future)
        try:
            return await future
        finally:
            timer.cancel()
            self._waiting.pop(token, None)

    async def watch(self, key: str, wake: Callable[[], object], timeout_s: float) -> int:
        """Have ``wake`` called when a session may have changed, and when the connection goes.

        Returns what ``unwatch`` takes; 0 when the agent cannot do it. Raises AgentGone or
        TimeoutError.
        """
        if self._transport is None:
            raise AgentGone("the agent closed the connection")
        token = next(self._tokens)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[token] = future
        self._watching[token] = wake
        self._transport.write(encode_frame(encode_request(Operation.WATCH, token, key)))
        timer = self._loop.call_later(timeout_s, _time_out, future)
        accepted = False
        try:
            accepted = await future is True
        finally:
            timer.cancel()
            self._waiting.pop(token, None)
            if not accepted:
                self.unwatch(token)
        self.can_watch = accepted
        return token if accepted else 0

    def unwatch(self, token: int) -> None:
        """Stop a watch."""
        if self._watching.pop(token, None) is not None:
            self.tell(Operation.UNWATCH, token)

    def close(self) -> None:
        """Close the connection; whoever waits gets AgentGone."""
        if self._transport is not None:
            # Of a loop that was closed before us, nothing is left to wait for the goodbye.
            with suppress(RuntimeError):
                self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand each answer to whoever asked, and wake whoever watches."""
        try:
            for payload in self._decoder.receive(data):
                answer = decode_answer(payload)
                future = self._waiting.get(answer.token)
                if future is not None and not future.done():
                    future.set_result(answer.value)
                elif answer.token in self._watching:
                    self._watching[answer.token]()
        except WireError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits that the agent went away."""
        self._transport = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(AgentGone("the agent went away"))
        for wake in self._watching.values():
            wake()


class LoopLinks:
    """Keeps one link for each event loop of one worker, from its first use to the loop's end.

    _links: by loop, the last one that was opened; it may be closed by now.
    _opening: a lock for each loop, which keeps it from connecting twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._links: PerLoop[AsyncLink] = PerLoop(self._release)
        self._opening: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]
        self._opening = WeakKeyDictionary()

    def find(self, loop: asyncio.AbstractEventLoop) -> AsyncLink | None:
        """Return the loop's link, None while none is open."""
        link = self._links.find(loop)
        return link if link is not None and link.is_open else None

    async def open(self) -> AsyncLink:
        """Return the running loop's link, connected if need be. Raises AgentGone."""
        loop = asyncio.get_running_loop()
        link = self.find(loop)
        if link is not None:
            return link
        async with self._opening.setdefault(loop, asyncio.Lock()):
            link = self.find(loop)
            if link is None:
                link = await AsyncLink.connect(self._path)
                await self._links.keep(link)
            return link

    def _release(self, loop: asyncio.AbstractEventLoop, link: AsyncLink) -> None:
        # A lock that somebody had to wait for holds on to its loop, too.
        self._opening.pop(loop, None)
        link.close()

    def close(self) -> None:
        """Close the links of all loops."""
        self._links.close()


def _time_out(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(TimeoutError("the agent did not answer in time"))
