"""Gives the programs of one process ports that no other process takes meanwhile.

A port that the kernel calls free belongs to whoever binds it first: another process that asked in
the same way, or a connection that goes out. So each process claims a block of ports, below those of
connections where there is room, and gives them out in turn.
"""

import os
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

_FIRST_PORT = 10_240
_BLOCK_PORTS = 512
_BLOCKS = 44
REST_S = 20.0
"""How long a port is given to nobody else: programs bind it some time after they were given it."""

_OF_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortBlock:
    """Is a block of ports that this process has claimed.

    _next: where the next ones are looked for. _given_s: by port, when it was given out last.
    """

    def __init__(self, ports: range) -> None:
        self._ports = ports
        self._next = 0
        self._given_s: dict[int, float] = {}

    def take(self, kind: socket.SocketKind, count: int) -> int | None:
        """Return the first of ``count`` free ports, those given out longest ago; None without."""
        now_s = time.monotonic()
        for _ in range(0, len(self._ports), count):
            if self._next + count > len(self._ports):
                self._next = 0
            ports = self._ports[self._next : self._next + count]
            self._next += count
            if all(self._rests(port, now_s) and _is_free(port, kind) for port in ports):
                self._given_s.update(dict.fromkeys(ports, now_s))
                return ports[0]
        return None

    def _rests(self, port: int, now_s: float) -> bool:
        # Whoever got it may not have bound it yet.
        return now_s - self._given_s.get(port, float("-inf")) >= REST_S


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
