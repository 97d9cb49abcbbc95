"""Makes links: ``LinkServer`` accepts peers, ``dial`` connects to one.

Both sides prove by TLS that they hold the secret, then the dialler's hello and the server's answer
say who they are; with certificates that do not follow from the secret the hellos prove it, the
dialler's first. A stranger gets no further than the handshake, costs bounded memory and time, and
is counted and reported.
"""

import asyncio
import errno
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket

from clustersession.core.errors import OtherVersion, WireError
from clustersession.net.link import Address, Link, LinkLimits, tune_socket
from clustersession.wire.messages import Hello
from clustersession.wire.proof import HelloProof

__all__ = ["Address", "Link", "LinkLimits", "LinkServer", "Refusal", "dial"]

logger = logging.getLogger("clustersession.net")

_BACKLOG = 128
_ACCEPT_PAUSE_S = 0.2
_SHORT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Refusal(StrEnum):
    """Says why an incoming connection became no link; the value is the name of its counter."""

    TOO_MANY = "too_many"
    TLS = "tls"
    TIMEOUT = "timeout"
    HELLO = "hello"
    LOST = "lost"


class LinkServer:
    """Accepts links on the first free TCP port of a range.

    hello: gives our hello, asked for at each connection. check_hello(hello) returns the peer's or
    raises WireError, whose text is the reason. on_link(link) is called with the link open and
    must call ``link.start``. on_refused(peer_address, reason) is called for every connection that
    did not become a link. proof: what hellos must prove beyond TLS.

    refused: how many connections did not become links, by reason; only grows.
    _port: the first port of the range; from ``start`` on the one that is listened on.
    _listening, _accepting: the listening socket and the task that accepts; None before ``start``
        and after ``close``.
    _admissions: the connections that have not proved themselves, oldest first, each with the task
        that greets it; at most ``unauthenticated_max``.
    """

    def __init__(
        self,
        bind: str,
        port: int,
        port_range: int,
        tls: ssl.SSLContext,
        hello: Callable[[], bytes],
        check_hello: Callable[[bytes], Hello],
        on_link: Callable[[Link], None],
        on_refused: Callable[[Address, str], None] = lambda peer_address, reason: None,
        limits: LinkLimits | None = None,
        proof: HelloProof | None = None,
    ) -> None:
        self._proof = proof
        self.refused: Counter[Refusal] = Counter()
        self._bind = bind
        self._port = port
        self._port_range = port_range
        self._tls = tls
        self._hello = hello
        self._check_hello = check_hello
        self._on_link = on_link
        self._on_refused = on_refused
        self._limits = limits or LinkLimits()
        self._listening: socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._admissions: dict[asyncio.Task[None], Address] = {}

    @property
    def address(self) -> Address:
        """Return the address that is listened on; the port is known after ``start``."""
        return self._bind, self._port

    @property
    def unauthenticated(self) -> int:
        """Count the connections that have not proved themselves yet."""
        return len(self._admissions)

    async def start(self) -> None:
        """Begin to listen. Raises OSError naming the range when no port of it is free."""
        self._listening = _listen(self._bind, self._port, self._port_range)
        self._port = self._listening.getsockname()[1]
        self._accepting = asyncio.get_running_loop().create_task(self._accept(self._listening))

    async def close(self) -> None:
        """Accept no more and drop connections still unproved. Links made here stay open."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        # A task cancelled before its first step would forget the socket it was given.
        await asyncio.sleep(0)
        admissions = list(self._admissions)
        for admission in admissions:
            admission.cancel()
        await asyncio.gather(*admissions, return_exceptions=True)

    async def _accept(self, listening: socket) -> None:
        # Not loop.create_server: that hands over plain connections, and uvloop begins to read from
        # them whatever the protocol says, so the first bytes of the handshake could be lost.
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, peer = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _SHORT_OF_RESOURCES:
                    self._refuse(self.address, Refusal.TOO_MANY, f"cannot accept: {error.strerror}")
                    await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            peer_address = (peer[0], peer[1])
            if len(self._admissions) >= self._limits.unauthenticated_max:
                # A task cancelled before its first step would forget the socket it was given.
                await asyncio.sleep(0)
                self._give_up_oldest()
            admission = loop.create_task(self._admit(sock, peer_address))
            self._admissions[admission] = peer_address
            admission.add_done_callback(lambda done: self._admissions.pop(done, None))

    def _give_up_oldest(self) -> None:
        # And not the newest: a peer is through in milliseconds, and whoever says a byte a second on
        # every connection must not keep it out.
        if len(self._admissions) >= self._limits.unauthenticated_max:
            oldest = next(iter(self._admissions))
            peer_address = self._admissions.pop(oldest)
            oldest.cancel()
            self._refuse(peer_address, Refusal.TOO_MANY, "too many connections at once")

    async def _admit(self, sock: socket, peer_address: Address) -> None:
        link = Link(self._limits)
        try:
            refusal, reason = await self._greet(link, sock)
        except asyncio.CancelledError:
            link.abort("given up")
            raise
        if refusal is not None:
            if not link.is_closed:
                link.abort(reason)
            self._refuse(peer_address, refusal, reason)

    async def _greet(self, link: Link, sock: socket) -> tuple[Refusal | None, str]:
        limits = self._limits
        try:
            await _secure_accepted(link, sock, self._tls, limits)
            async with asyncio.timeout(limits.hello_timeout_s):
                first = await link.receive_hello()
                link.hello = self._check_hello(_proved(link, first, self._proof, False))
            link.send(_proving(link, self._hello(), self._proof, False))
            self._on_link(link)
        except ssl.SSLError as error:
            return Refusal.TLS, _tls_reason(error)
        except OtherVersion as error:
            # It is one of us and may have nobody dialling it: with our hello it can say why, too.
            link.send(_proving(link, self._hello(), self._proof, False))
            link.close(str(error))
            return Refusal.HELLO, str(error)
        except WireError as error:
            return Refusal.HELLO, str(error)
        except TimeoutError:
            return Refusal.TIMEOUT, f"no hello within {limits.hello_timeout_s:g} s"
        except ConnectionAbortedError:
            # What both event loops raise for a handshake that takes too long.
            return (
                Refusal.TIMEOUT, f"no TLS handshake within {limits.handshake_timeout_s:g} s"
            )
        except OSError as error:
            return Refusal.LOST, f"connection lost: {error.strerror or 'closed by the peer'}"
        except Exception as error:
            logger.exception("the hello of %s:%d could not be handled", *link.peer_address)
            return Refusal.HELLO, f"the hello could not be handled: {error!r}"
        return None, ""

    def _refuse(self, peer_address: Address, refusal: Refusal, reason: str) -> None:
        self.refused[refusal] += 1
        try:
            self._on_refused(peer_address, reason)
        except Exception:
            logger.exception("the refusal of %s:%d was not handled", *peer_address)


async def _secure_accepted(
    link: Link, sock: socket, tls: ssl.SSLContext, limits: LinkLimits
) -> None:
    loop = asyncio.get_running_loop()
    try:
        sock.setblocking(False)
        tune_socket(sock, limits.silence_timeout_s)
    except OSError:
        sock.close()
        raise
    await loop.connect_accepted_socket(
        lambda: link, sock, ssl=tls, ssl_handshake_timeout=limits.handshake_timeout_s,
        ssl_shutdown_timeout=limits.close_timeout_s,
    )


async def dial(
    host: str,
    port: int,
    tls: ssl.SSLContext,
    hello: bytes,
    check_hello: Callable[[bytes], Hello],
    timeout_s: float,
    limits: LinkLimits | None = None,
    proof: HelloProof | None = None,
) -> Link:
    """Open a link; the caller starts it. ``proof``: what hellos must prove beyond TLS.

    Raises ConnectionRefusedError when nobody listens there, TimeoutError when the host did not
    answer within ``timeout_s`` or whoever listens there did not greet within the time that
    ``limits`` give a peer for that, other OSErrors as the system reports them, and WireError when
    whoever answers is not one of us or does not want us.
    """
    limits = limits or LinkLimits()
    link = Link(limits)
    # Apart: the kernel accepts at once, and a process that has many to greet may need longer. Were
    # it given up, what both have computed for the handshake would be lost.
    sock = await _connected(host, port, timeout_s)
    greeting_s = max(timeout_s, limits.handshake_timeout_s)
    try:
        async with asyncio.timeout(greeting_s):
            await _secure_dialled(link, sock, tls, limits, greeting_s)
            link.send(_proving(link, hello, proof, True))
            link.hello = check_hello(_proved(link, await link.receive_hello(), proof, True))
    except ssl.SSLError as error:
        link.abort("not one of us")
        raise WireError(f"{host}:{port} is not one of us: {_tls_reason(error)}") from error
    except BaseException as error:
        link.abort(str(error) or type(error).__name__)
        raise
    return link


async def _connected(host: str, port: int, timeout_s: float) -> socket:
    sock = socket(AF_INET6 if ip_address(host).version == 6 else AF_INET, SOCK_STREAM)
    try:
        sock.setblocking(False)
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _secure_dialled(
    link: Link, sock: socket, tls: ssl.SSLContext, limits: LinkLimits, greeting_s: float
) -> None:
    tune_socket(sock, limits.silence_timeout_s)
    await asyncio.get_running_loop().create_connection(
        lambda: link, sock=sock, ssl=tls,
        # No name in the handshake: it would travel in the clear.
        server_hostname="",
        # Longer, so that it is always our own timeout that ends a handshake.
        ssl_handshake_timeout=greeting_s + 1, ssl_shutdown_timeout=limits.close_timeout_s,
    )


def _proving(link: Link, hello: bytes, proof: HelloProof | None, we_dialled: bool) -> bytes:
    if proof is None:
        return hello
    return proof.add(hello, link.peer_certificate, we_dialled=we_dialled)


def _proved(link: Link, data: bytes, proof: HelloProof | None, we_dialled: bool) -> bytes:
    if proof is None:
        return data
    return proof.check(data, link.peer_certificate, we_dialled=we_dialled)


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            "its secret or cluster name is another, or its certificate authority (certificate: "
            f"{error.verify_message})"
        )
    return f"TLS failed ({error.reason or error})"


def _listen(bind: str, port: int, port_range: int) -> socket:
    family = AF_INET6 if ip_address(bind).version == 6 else AF_INET
    last = port + max(port_range, 1) - 1 if port else 0
    for candidate in range(port, last + 1):
        sock = socket(family, SOCK_STREAM)
        try:
            sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            sock.bind((bind, candidate))
            # Two sockets may bind one port with SO_REUSEADDR; only one of them may listen.
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise OSError(
                    error.errno,
                    f"cannot listen on {bind} port {candidate} (settings bind and port): "
                    f"{error.strerror}",
                ) from error
        else:
            sock.setblocking(False)
            return sock
    raise OSError(
        errno.EADDRINUSE,
        f"no free TCP port from {port} to {last} on {bind}; set port, or a larger port_range",
    )
