"""Gives the programs of one process ports that no other process takes meanwhile.

A port that the kernel calls free belongs to whoever binds it first: another process that asked in
the same way, or a connection that goes out. So each process claims a block of ports, below those of
connections where there is room, and gives them out in turn.
"""

import os
import socket
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path

_FIRST_PORT = 10_240
_BLOCK_PORTS = 512
_BLOCKS = 44
_OF_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortBlock:
    """Is a block of ports that this process has claimed."""

    def __init__(self, ports: range) -> None:
        self._ports = ports
        self._given = 0

    def take(self, kind: socket.SocketKind, count: int) -> int | None:
        """Return the first of ``count`` free ports, those given out longest ago; None without."""
        for _ in range(0, len(self._ports), count):
            if self._given + count > len(self._ports):
                self._given = 0
            first = self._ports[self._given]
            self._given += count
            if all(_is_free(first + number, kind) for number in range(count)):
                return first
        return None


class ProcessPorts:
    """Is all blocks that one process has claimed; they are its own for as long as it lives.

    _blocks: the one in use first. A port rests for a minute after its last connection, so who
        starts servers by the hundred needs several.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._blocks: deque[PortBlock] = deque()

    def take(self, kind: socket.SocketKind, count: int) -> int:
        """Return the first of ``count`` ports, which are free, as far as there are any."""
        for _ in range(len(self._blocks)):
            if (port := self._blocks[0].take(kind, count)) is not None:
                return port
            self._blocks.rotate(-1)
        while (claimed := _claim_any()) is not None:
            self._blocks.appendleft(PortBlock(claimed))
            if (port := self._blocks[0].take(kind, count)) is not None:
                return port
        return _of_the_kernel(kind, count)


def _claim_any() -> range | None:
    blocks = _blocks()
    # Processes that run one after another begin at different ones: ports rest after their use.
    for number in range(len(blocks)):
        block = blocks[(os.getpid() + number) % len(blocks)]
        if _claim(block):
            return block
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


def _of_the_kernel(kind: socket.SocketKind, count: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return min(int(probe.getsockname()[1]), 65_536 - count)


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
