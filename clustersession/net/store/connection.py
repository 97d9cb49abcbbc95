"""Is one connection to a Valkey or Redis: commands go out together, answers come in their order."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from clustersession.core.errors import StoreError, StoreErrorKind, WireError
from clustersession.net.store.refusals import unreachable
from clustersession.net.store.resp import ErrorReply, PushMessage, RespDecoder
from clustersession.settings.store_url import StoreAddress

_RECEIVE_BYTES = 64 * 2**10

PLAIN_AFTER_S: Final = 1.0
"""After how long without an answer to TLS it is tried whether the other end speaks none: that waits
for the end of a line, and would say nothing until the time is up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """Bounds what a store can cost.

    connect_timeout_s: for the connection, TLS and the greeting, each.
    silence_timeout_s: a store that owes answers and sends nothing for so long is given up; so is
        one that takes ten times as long for one answer.
    pending_bytes_max: a store that leaves more than this unanswered is hopelessly slow.
    """

    connect_timeout_s: float = 5.0
    silence_timeout_s: float = 5.0
    pending_bytes_max: int = 64 * 2**20


@dataclass(slots=True)
class _Batch:
    """Holds the answers to commands that were sent together."""

    missing: int
    size: int
    sent_s: float
    future: "asyncio.Future[list[Any]]"
    answers: list[Any] = field(default_factory=list)


class StoreConnection(asyncio.BufferedProtocol):
    """Carries commands and answers. It is open from ``connect`` on until ``on_closed`` is called.

    last_error: what the server refused last; before it closes a connection it says why.
    _batches: what has not been answered, the oldest first. _heard_s: when something came last, 0
        for never.
    _watch: runs while answers are owed. _reason: why it is closed; None while it is open.
    """

    def __init__(
        self,
        address: StoreAddress,
        limits: StoreLimits,
        on_push: Callable[[list[Any]], None],
        on_closed: Callable[[StoreError], None],
        *,
        tls: bool,
    ) -> None:
        self.address = address
        self.last_error: ErrorReply | None = None
        self._limits = limits
        self._on_push = on_push
        self._on_closed = on_closed
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        # As in net/link.py: uvloop's TLS is slow with a plain Protocol.
        self._received = memoryview(bytearray(_RECEIVE_BYTES))
        self._decoder = RespDecoder()
        self._batches: deque[_Batch] = deque()
        self._pending_bytes = 0
        self._heard_s = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._reason: StoreError | None = None
        self._is_lost = self._loop.create_future()

    async def connect(self, context: ssl.SSLContext | None) -> None:
        """Connect. Raises StoreError."""
        try:
            async with asyncio.timeout(self._limits.connect_timeout_s):
                await self._connect(context)
        except (OSError, TimeoutError, EOFError) as error:
            raise unreachable(
                str(self.address), error, tls=self._tls, connecting=True
            ) from None

    async def _connect(self, context: ssl.SSLContext | None) -> None:
        (host, port), loop = self.address, self._loop
        if not port:
            await loop.create_unix_connection(lambda: self, host)
            return
        name = host if context else None
        opening = loop.create_task(loop.create_connection(
            lambda: self, host, port, ssl=context, server_hostname=name
        ))
        try:
            if context is not None:
                await asyncio.wait({opening}, timeout=PLAIN_AFTER_S)
                if not opening.done() and await _speaks_without_tls(host, port):
                    raise StoreError(
                        f"the store at {self.address} speaks no TLS there; write valkey:// in the "
                        "setting store, or the port at which it does (its setting tls-port)",
                        StoreErrorKind.SETTING,
                    )
            await opening
        finally:
            opening.cancel()

    @property
    def is_open(self) -> bool:
        """Tell whether it may be asked, as far as is known."""
        return self._reason is None and self._transport is not None

    def ask(self, commands: Sequence[bytes]) -> "asyncio.Future[list[Any]]":
        """Send commands; the future has an answer for each, or StoreError when none will come.

        Whoever cancels it is not told; the connection goes on.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if self._reason is not None or self._transport is None:
            future.set_exception(self._reason or StoreError("the store is not connected"))
            return future
        if not commands:
            future.set_result([])
            return future
        data = b"".join(commands)
        batch = _Batch(len(commands), len(data), self._loop.time(), future)
        self._batches.append(batch)
        # Without this one: a session that is larger would never be sent.
        is_slow = self._pending_bytes > self._limits.pending_bytes_max
        self._pending_bytes += len(data)
        if is_slow:
            self.abort(StoreError(
                f"the store at {self.address} is too slow: {self._pending_bytes} bytes wait for it",
                StoreErrorKind.TIMEOUT,
            ))  # fmt: skip
            return future
        self._transport.write(data)
        if self._watch is None:
            self._watch = self._loop.call_later(self._limits.silence_timeout_s, self._judge)
        return future

    def abort(self, reason: StoreError) -> None:
        """Close at once; what has not been answered never will be."""
        if self._reason is not None:
            return
        self._reason = reason
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()
        batches, self._batches = self._batches, deque()
        for batch in batches:
            if not batch.future.done():
                batch.future.set_exception(reason)
                # Somebody who has given up waiting need not look at it.
                batch.future.exception()
        self._on_closed(reason)

    async def closed(self) -> None:
        """Wait until nothing of the connection is left."""
        if self._transport is not None:
            await self._is_lost

    def _judge(self) -> None:
        """Give up a store that owes answers and says nothing."""
        self._watch = None
        if not self._batches:
            return
        now_s, timeout_s = self._loop.time(), self._limits.silence_timeout_s
        oldest_s = self._batches[0].sent_s
        due_s = min(max(oldest_s, self._heard_s) + timeout_s, oldest_s + 10 * timeout_s)
        if now_s >= due_s:
            self.abort(unreachable(str(self.address), TimeoutError(), tls=self._tls))
        else:
            self._watch = self._loop.call_at(due_s, self._judge)

    # For asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's transports are asyncio's in everything but their class.
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where to read to."""
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.take(self._received[:nbytes])

    def take(self, data: bytes | memoryview) -> None:
        """Give each answer to whoever waits for it."""
        self._heard_s = self._loop.time()
        try:
            for answer in self._decoder.feed(data):
                if isinstance(answer, PushMessage):
                    self._on_push(answer.parts)
                else:
                    self._answered(answer)
        except WireError as error:
            self.abort(StoreError(f"{error} ({self.address})"))

    def _answered(self, answer: Any) -> None:
        if self._reason is not None:
            return
        if not self._batches:
            raise WireError("the store answers what nobody asked")
        if isinstance(answer, ErrorReply):
            self.last_error = answer
        batch = self._batches[0]
        batch.answers.append(answer)
        batch.missing -= 1
        if not batch.missing:
            self._batches.popleft()
            self._pending_bytes -= batch.size
            if not batch.future.done():
                batch.future.set_result(batch.answers)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell who waits."""
        self.abort(unreachable(
            str(self.address), error or EOFError(), tls=self._tls, connecting=not self._heard_s
        ))  # fmt: skip
        if not self._is_lost.done():
            self._is_lost.set_result(None)


async def _speaks_without_tls(host: str, port: int) -> bool:
    """Tell whether a server answers a word in clear, which says nothing of us."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(b"PING\r\n")
            return await reader.read(1) in (b"+", b"-")
        finally:
            writer.close()
    except OSError:
        return False
