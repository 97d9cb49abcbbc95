"""Sends datagrams to a multicast group and receives what comes, on one interface.

Two sockets: one bound to the group and its port, which every node of the host shares, and one with
a port of its own to send from. Both are used without asyncio's transports: sending is one system
call whose error is known at once, and a burst is read in one turn of the event loop.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address

from clustersession.core.errors import ConfigurationError

logger = logging.getLogger("clustersession.net")

Source = tuple[str, int]

DATAGRAM_BYTES_MAX = 65_507
RECEIVE_BUFFER_BYTES = 4 * 2**20

# So that a flood of datagrams leaves the event loop some time for everything else.
_READS_PER_TURN_MAX = 64


class MulticastChannel:
    """Sends to a group and receives what anybody sends to it, ourselves included.

    group, port: the IPv4 multicast group. ttl: how many routers a datagram may pass, plus one.
    interface_address: an address of the interface to use; 127.0.0.1 joins the nodes of one host,
    0.0.0.0 leaves the choice to the system. on_datagram(data, source) gets everything that arrives,
    unchecked; when it raises, the error is logged. on_trouble(text) is called when sending begins
    to fail, or fails in another way than before; on_recovered() when it works again.

    sent, send_failures, received: counts of datagrams; only grow.
    _trouble: the error number that sending failed with last; None while it works.
    _loop, _receiving, _sending: the loop that reads and the two sockets; None unless started.

    Raises ConfigurationError when the group or the interface address is not what it should be.
    """

    def __init__(
        self,
        group: str,
        port: int,
        ttl: int,
        interface_address: str,
        on_datagram: Callable[[bytes, Source], None],
        on_trouble: Callable[[str], None] = lambda text: None,
        on_recovered: Callable[[], None] = lambda: None,
    ) -> None:
        self.sent = 0
        self.send_failures = 0
        self.received = 0
        self._group = str(_ipv4(group, "multicast_address"))
        if not ip_address(group).is_multicast:
            raise ConfigurationError(f"multicast_address {group} is not a multicast address")
        self._port = port
        self._ttl = ttl
        self._interface_address = str(_ipv4(interface_address, "bind"))
        self._on_datagram = on_datagram
        self._on_trouble = on_trouble
        self._on_recovered = on_recovered
        self._trouble: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receiving: socket.socket | None = None
        self._sending: socket.socket | None = None

    def __str__(self) -> str:
        return (
            f"multicast group {self._group}:{self._port} on the interface of "
            f"{self._interface_address}"
        )

    @property
    def source(self) -> Source:
        """Return what receivers see as the source of our datagrams."""
        if self._sending is None:
            raise RuntimeError("the channel is not started")
        host, port = self._sending.getsockname()
        return host, port

    async def start(self) -> None:
        """Join the group. Raises OSError naming group, port and interface when that fails."""
        try:
            self._sending = self._open_sending()
            self._receiving = self._open_receiving()
        except OSError as error:
            self.close()
            raise OSError(error.errno, f"cannot join {self}: {error.strerror}") from error
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._receiving, self._read)

    def send(self, data: bytes) -> None:
        """Send one datagram to the group. A failure is counted and reported, never raised."""
        if self._sending is None:
            return
        try:
            self._sending.sendto(data, (self._group, self._port))
        except OSError as error:
            self.send_failures += 1
            number = error.errno or errno.EIO
            if number != self._trouble:
                self._trouble = number
                text = f"cannot send {len(data)} bytes to {self}: {error.strerror}"
                self._report(lambda: self._on_trouble(text))
            return
        self.sent += 1
        if self._trouble is not None:
            self._trouble = None
            self._report(self._on_recovered)

    def close(self) -> None:
        """Leave the group; safe to repeat."""
        if self._loop is not None and self._receiving is not None:
            self._loop.remove_reader(self._receiving)
        for sock in (self._receiving, self._sending):
            if sock is not None:
                sock.close()
        self._receiving = self._sending = self._loop = None

    def _open_receiving(self) -> socket.socket:
        sock = _socket()
        try:
            # Both, because whoever else is on the port, Tomcat for one, may have set either.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            # Bound to any address, it would receive other groups on this port as well. It still
            # hears interfaces on which another process joined the group. IP_MULTICAST_ALL=0 is no
            # cure: with it, when only one of the sockets that share the port is to have a datagram,
            # Linux 6.18 was seen to give it to another of them, and to that one alone.
            sock.bind((self._group, self._port))
            membership = socket.inet_aton(self._group) + socket.inet_aton(self._interface_address)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        except OSError:
            sock.close()
            raise
        return sock

    def _open_sending(self) -> socket.socket:
        sock = _socket()
        try:
            interface = socket.inet_aton(self._interface_address)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, self._ttl)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sock.bind((self._interface_address, 0))
        except OSError:
            sock.close()
            raise
        return sock

    def _read(self) -> None:
        for _ in range(_READS_PER_TURN_MAX):
            if self._receiving is None:
                return
            try:
                data, source = self._receiving.recvfrom(DATAGRAM_BYTES_MAX)
            except OSError:
                # Nothing left, or an error about an earlier datagram that is of no use here.
                return
            self.received += 1
            try:
                self._on_datagram(data, source)
            except Exception:
                logger.exception("a datagram from %s:%d could not be handled", *source)

    def _report(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            logger.exception("a change of state of %s could not be reported", self)


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
    sock.setblocking(False)
    return sock


def _ipv4(address: str, setting: str) -> IPv4Address:
    try:
        return IPv4Address(address)
    except ValueError:
        raise ConfigurationError(
            f"multicast needs an IPv4 address in {setting}, not {address!r}"
        ) from None
