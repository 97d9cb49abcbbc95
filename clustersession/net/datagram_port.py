"""Receives datagrams at the port of a node's connections, and answers them."""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

logger = logging.getLogger("clustersession.net")

Source = tuple[str, int]

_DATAGRAM_BYTES_MAX = 2048
_RECEIVE_BUFFER_BYTES = 2**20
_READS_PER_TURN_MAX = 32
"""So that a flood leaves the event loop some time for everything else."""


class DatagramPort:
    """Receives what anybody sends to an address; ``on_datagram`` returns the answer, if any.

    When it raises, the error is logged.
    """

    def __init__(
        self, host: str, port: int, on_datagram: Callable[[bytes, Source], bytes | None]
    ) -> None:
        """Listen, in the running event loop. Raises OSError."""
        self._on_datagram = on_datagram
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        for _ in range(_READS_PER_TURN_MAX):
            try:
                data, source = self._socket.recvfrom(_DATAGRAM_BYTES_MAX)
            except OSError:
                # Nothing left, or an error about an earlier answer that is of no use here.
                return
            try:
                answer = self._on_datagram(data, source)
            except Exception:
                logger.exception("a datagram from %s:%d could not be handled", *source[:2])
                continue
            if answer is not None:
                # Whoever asked may be gone by now, and does without an answer.
                with suppress(OSError):
                    self._socket.sendto(answer, source)
