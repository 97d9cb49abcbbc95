"""Is one TCP connection to a peer, which carries frames over TLS.

A link begins when the TLS handshake is done: there is no stage in which plain bytes could reach it.
``link_server`` exchanges the hellos, then the owner calls ``start`` and messages flow. What arrives
in between waits.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from clustersession.core.errors import WireError
from clustersession.core.identity import Identity
from clustersession.wire.frames import FrameDecoder, frame_header, split_first_frame
from clustersession.wire.messages import Hello

_RECEIVE_BYTES = 64 * 2**10
# What a link hands to TLS in one turn of the event loop. Encrypting a frame of many megabytes at
# once would hold up heartbeats, and what is handed over can no longer be counted exactly.
_WRITE_BYTES = 256 * 2**10
_TLS_BUFFER_BYTES = 64 * 2**10
TURN_S = 0.002
"""How long a link delivers messages until it is everybody else's turn in the event loop."""
UNDELIVERED_BYTES_MAX = 2**20
"""How much may wait here before no more is read."""

logger = logging.getLogger("clustersession.net")

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """Bounds what a peer can cost.

    frame_bytes_max: a longer frame closes the link.
    pending_bytes_max: a peer that leaves more than this unread is hopelessly slow; the link closes.
    hello_bytes_max: bound of the first frame, which comes from a peer not yet checked.
    handshake_timeout_s, hello_timeout_s: how long a peer may take for TLS and for its hello.
    silence_timeout_s: how long the peer's kernel may leave data or probes unacknowledged.
    close_timeout_s: how long a closing link may try to deliver what is still unsent.
    unauthenticated_max: connections that have not proved themselves yet, at one time.
    """

    frame_bytes_max: int = 16 * 2**20
    pending_bytes_max: int = 64 * 2**20
    hello_bytes_max: int = 4096
    handshake_timeout_s: float = 5.0
    hello_timeout_s: float = 5.0
    silence_timeout_s: float = 10.0
    close_timeout_s: float = 2.0
    unauthenticated_max: int = 64


class Link(asyncio.BufferedProtocol):
    """Carries messages to and from one authenticated peer.

    A link goes through three stages: greeting (from the handshake to ``start``), open (to the first
    call of ``close`` or ``abort``, or the loss of the connection), closed.

    hello: the peer's checked hello; there once the greeting is done.
    peer_address: the other end of the connection, host and port; set by the handshake.
    _transport: the TLS connection; None before the handshake and after the loss.
    _received: where the event loop puts what it reads; its content is used at once.
    _early: what arrived before ``start``, the hello first; empty from then on.
    _early_arrived: set when ``_early`` has grown, or never will again.
    _decoder: finds the messages in the stream; used from ``start`` on.
    _undelivered, _undelivered_bytes: complete messages that wait for the link's next turn. It is
        read on meanwhile, up to UNDELIVERED_BYTES_MAX, for those that may pass them.
    _on_message, _on_closed: the owner's callbacks; None before ``start``, ``_on_closed`` also once
        it was called.
    _passes, _may_be_passed: which messages need not wait for which.
    _ordinary: how many of those that wait may not be passed.
    _unsent: framed messages that the transport does not have yet; empty once closed.
    _flush_due: ``_flush`` will run in this turn of the event loop.
    _writable: the transport takes more; False while the peer reads too slowly.
    _close_reason: why the link is closed or closing, by the first cause; None while it is open.
    _lost: set when the connection is gone, for good.
    """

    hello: Hello

    def __init__(self, limits: LinkLimits) -> None:
        self.peer_address: Address = ("", 0)
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        # With a plain Protocol uvloop's TLS takes a fresh quarter of a megabyte from the system for
        # each read, which makes a round trip three times as long.
        # A view, because asyncio slices what it gets and reads into the slice.
        self._received = memoryview(bytearray(_RECEIVE_BYTES))
        self._early = bytearray()
        self._early_arrived = asyncio.Event()
        self._decoder = FrameDecoder(limits.frame_bytes_max)
        self._undelivered: deque[bytes] = deque()
        self._undelivered_bytes = self._ordinary = 0
        self._passes: Callable[[bytes], bool] = _never
        self._may_be_passed: Callable[[bytes], bool] = _never
        self._on_message: Callable[[Link, bytes], None] | None = None
        self._on_closed: Callable[[Link, str], None] | None = None
        self._unsent = bytearray()
        self._flush_due = False
        self._writable = True
        self._close_reason: str | None = None
        self._lost = asyncio.Event()

    # For the owner

    @property
    def identity(self) -> Identity:
        """Return who the peer is, by its hello."""
        return self.hello.identity

    @property
    def is_closed(self) -> bool:
        """Tell whether the link is closed or closing: nothing more is sent or delivered."""
        return self._close_reason is not None

    @property
    def close_reason(self) -> str | None:
        """Say why the link closed, or None while it is open."""
        return self._close_reason

    @property
    def pending_bytes(self) -> int:
        """Count what was sent and waits for the peer to read; too low by 0.4 MiB at most."""
        held = 0 if self._transport is None else self._transport.get_write_buffer_size()
        return len(self._unsent) + held

    def start(
        self,
        on_message: Callable[["Link", bytes], None],
        on_closed: Callable[["Link", str], None],
        passes: Callable[[bytes], bool] | None = None,
        may_be_passed: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Let messages flow, those already waiting first; to be called once.

        They come in the order in which they were sent, except that one that ``passes`` does not
        wait for those before it when all of them ``may_be_passed``.

        on_message(link, payload) is never called after the link is closed; when it raises, the
        error is logged and this link closes. on_closed(link, reason) is called exactly once, also
        when the link was lost before the start.
        """
        self._on_message = on_message
        self._on_closed = on_closed
        self._passes, self._may_be_passed = passes or _never, may_be_passed or _never
        if self._lost.is_set():
            self._loop.call_soon(self._report_closed)
            return
        early = bytes(self._early)
        self._early.clear()
        self._receive(early, on_message)
        if self._transport is not None and not self.is_closed and not self._undelivered:
            self._transport.resume_reading()

    @property
    def peer_certificate(self) -> bytes:
        """Return the certificate the peer showed, DER. Raises WireError when closed."""
        if self._transport is None:
            raise WireError(f"no hello: {self._close_reason}")
        found: bytes | None = self._transport.get_extra_info("ssl_object").getpeercert(True)
        if found is None:
            raise WireError("it showed no certificate")
        return found

    def send(self, payload: bytes) -> None:
        """Send one message; on a closed link it is lost without a word, as it would be in flight.

        Everything sent within one turn of the event loop leaves as one write.
        """
        if self._close_reason is not None:
            return
        self._unsent += frame_header(payload)
        self._unsent += payload
        if len(self._unsent) > self._limits.pending_bytes_max:
            self.abort(
                f"the peer is too slow: more than {self._limits.pending_bytes_max} bytes unsent"
            )
        else:
            self._flush_soon()

    def close(self, reason: str = "closed here") -> None:
        """Close after delivering what was sent, within ``close_timeout_s``; safe to repeat."""
        if self._close_reason is None:
            self._close_reason = reason
            if self._transport is not None:
                self._transport.write(bytes(self._unsent))
                self._unsent.clear()
                self._transport.close()

    def abort(self, reason: str) -> None:
        """Close at once; what is unsent is lost."""
        if self._close_reason is None:
            self._close_reason = reason
        self._unsent.clear()
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone and its socket released."""
        await self._lost.wait()

    # For the code that makes links

    async def receive_hello(self) -> bytes:
        """Wait for the peer's first frame. Raises WireError when it is too long or never comes."""
        while True:
            first = split_first_frame(self._early, self._limits.hello_bytes_max)
            if first is not None:
                hello, rest = first
                self._early[:] = rest
                if self._transport is not None:
                    # Until the owner starts the link, the peer waits in its own buffers.
                    self._transport.pause_reading()
                return hello
            if self._lost.is_set():
                raise WireError(f"no hello: {self._close_reason}")
            self._early_arrived.clear()
            await self._early_arrived.wait()

    # For the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection: the TLS handshake is done."""
        self._transport = secured = cast(asyncio.Transport, transport)
        secured.set_write_buffer_limits(_TLS_BUFFER_BYTES)
        peer = secured.get_extra_info("peername")
        if peer:
            self.peer_address = (peer[0], peer[1])

    def pause_writing(self) -> None:
        """Keep what is sent from now on: the peer reads more slowly than we write."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on handing over what was kept."""
        self._writable = True
        self._flush_soon()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the event loop puts what it reads."""
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        """Deliver the messages that these bytes complete."""
        if self._close_reason is not None:
            return
        if self._on_message is None:
            self._early += self._received[:nbytes]
            self._early_arrived.set()
            return
        self._receive(self._received[:nbytes].tobytes(), self._on_message)

    def _receive(self, data: bytes, on_message: Callable[["Link", bytes], None]) -> None:
        try:
            payloads = self._decoder.receive(data)
        except WireError as error:
            self.abort(str(error))
            return
        # While some wait, the next turn is planned already.
        is_waited_for = bool(self._undelivered)
        for payload in payloads:
            if self._undelivered and not self._ordinary and self._passes(payload):
                self._hand_over(payload, on_message)
            else:
                self._undelivered.append(payload)
                self._undelivered_bytes += len(payload)
                self._ordinary += not self._may_be_passed(payload)
        if not is_waited_for:
            self._deliver(on_message, self._loop.time() + TURN_S)
            if self._undelivered:
                self._loop.call_soon(self._go_on)
        if self._undelivered_bytes > UNDELIVERED_BYTES_MAX and self._transport is not None:
            self._transport.pause_reading()

    def _go_on(self) -> None:
        """Take the next turn with what waits, and read on when there is room."""
        if self._on_message is None or self._transport is None:
            return
        self._deliver(self._on_message, self._loop.time() + TURN_S)
        if self._close_reason is not None:
            return
        if self._undelivered:
            self._loop.call_soon(self._go_on)
        if self._undelivered_bytes <= UNDELIVERED_BYTES_MAX:
            self._transport.resume_reading()

    def _deliver(self, on_message: Callable[["Link", bytes], None], until_s: float) -> None:
        """Deliver what waits until a time of the event loop, at least one message."""
        while self._undelivered:
            payload = self._undelivered.popleft()
            self._undelivered_bytes -= len(payload)
            self._ordinary -= not self._may_be_passed(payload)
            self._hand_over(payload, on_message)
            if self._close_reason is None and self._loop.time() >= until_s:
                return

    def _hand_over(self, payload: bytes, on_message: Callable[["Link", bytes], None]) -> None:
        try:
            on_message(self, payload)
        except Exception:
            logger.exception("a message from %s:%d could not be handled", *self.peer_address)
            self.abort("a message could not be handled")
        if self._close_reason is not None:
            self._forget_undelivered()

    def _forget_undelivered(self) -> None:
        self._undelivered.clear()
        self._undelivered_bytes = self._ordinary = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner that the connection is gone, once; what has come whole comes first."""
        if self._on_message is not None and self._close_reason is None:
            self._deliver(self._on_message, float("inf"))
        self._forget_undelivered()
        if self._close_reason is None:
            self._close_reason = f"connection lost: {exc}" if exc else "closed by the peer"
        self._transport = None
        self._unsent.clear()
        self._lost.set()
        self._early_arrived.set()
        if self._on_closed is not None:
            self._report_closed()

    def _report_closed(self) -> None:
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is None:
            return
        try:
            on_closed(self, self._close_reason or "")
        except Exception:
            logger.exception("the end of the link to %s:%d was not handled", *self.peer_address)

    def _flush_soon(self) -> None:
        if self._unsent and not self._flush_due and self._writable:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if not self._unsent or self._transport is None or not self._writable:
            return
        if len(self._unsent) <= _WRITE_BYTES:
            data, self._unsent = self._unsent, bytearray()
        else:
            data = self._unsent[:_WRITE_BYTES]
            del self._unsent[:_WRITE_BYTES]
        self._transport.write(data)
        self._flush_soon()


def _never(payload: bytes) -> bool:
    return False


def tune_socket(sock: socket.socket, silence_timeout_s: float) -> None:
    """Make a socket send at once, and notice a peer that vanished without a word."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    seconds = max(1, round(silence_timeout_s / 3))
    for name, value in (
        ("TCP_KEEPIDLE", seconds),
        ("TCP_KEEPINTVL", seconds),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", round(silence_timeout_s * 1000)),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
