"""Gives the programs of one process ports that no other process takes meanwhile.

A port that the kernel calls free belongs to whoever binds it first: another process that asked in
the same way, or a connection that goes out. So each process claims a block of ports, below those of
connections where there is room, and gives them out in turn.
"""

import errno
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

_FIRST_PORT = 10_240
_BLOCK_PORTS = 512
_BLOCKS = 44
_OF_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortBlock:
    """Is a block of ports, claimed by the process that made it for as long as it lives."""

    def __init__(self, ports: range) -> None:
        self._ports = ports
        self._given = 0
        self.pid = os.getpid()

    def take(self, kind: socket.SocketKind, count: int) -> int:
        """Return the first of ``count`` ports, all free, that were given out longest ago.

        Raises OSError when there are none.
        """
        for _ in self._ports:
            if self._given + count > len(self._ports):
                self._given = 0
            first = self._ports[self._given]
            self._given += count
            if all(_is_free(first + number, kind) for number in range(count)):
                return first
        raise OSError(errno.EADDRINUSE, f"no {count} free ports in {self._ports}")


def claim_block() -> PortBlock | None:
    """Claim a block that no other process has; None where there is none, or no way to claim it."""
    blocks = _blocks()
    # Processes that run one after another begin at different ones: ports rest after their use.
    for number in range(len(blocks)):
        block = blocks[(os.getpid() + number) % len(blocks)]
        if _claim(block):
            return PortBlock(block)
    return None


def _blocks() -> list[range]:
    every = [
        range(first, first + _BLOCK_PORTS)
        for first in range(_FIRST_PORT, _FIRST_PORT + _BLOCKS * _BLOCK_PORTS, _BLOCK_PORTS)
    ]
    low, high = 0, 0
    with suppress(OSError, ValueError):
        low, high = map(int, _OF_CONNECTIONS.read_text().split())
    return [block for block in every if high < block.start or block[-1] < low] or every


def _claim(block: range) -> bool:
    # An abstract name belongs to the network namespace, as ports do, and ends with the process.
    if sys.platform != "linux":
        return False
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0clustersession-ports-{block.start}")
    except OSError:
        claim.close()
        return False
    # It stays open until the process ends, and nobody is to warn that it does.
    claim.detach()
    return True


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
