"""Says who a node is, in which phase, and in which of its lives."""

from enum import IntEnum
from ipaddress import ip_address
from typing import NamedTuple

NODE_ID_BYTES = 8
REFUTATION_BITS = 20
EPOCH_RANDOM_BITS = 22
STARTS_NOTE = "starts"
"""Names the note of a replica with the number of its node's last start."""
JOURNALLED_STARTS_NOTE = "journalled starts"
"""Names the note with the last start by a version that keeps a journal, or removes it."""


class Address(NamedTuple):
    """Says where a node's TCP receiver listens. Port 0: nowhere, but its host is this one."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_ip_address(text: str) -> bool:
    """Tell whether a text is an IP address, of either version."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Phase(IntEnum):
    """Says what a node is doing, by its own word. Numbers are on the wire: append only."""

    JOINING = 0
    READY = 1
    DRAINING = 2
    LEAVING = 3


class Identity(NamedTuple):
    """Names one life of one node.

    The incarnation grows with every start and with every refuted suspicion, so an older word
    about a node never overrides a newer one.
    """

    node: bytes
    incarnation: int
    route: str
    address: Address

    @property
    def start(self) -> int:
        """Return the number of the start that this life began with."""
        return self.incarnation >> REFUTATION_BITS


def next_start(last: int, wall_ms: int) -> int:
    """Return the number of the start that follows ``last``: the time of day, or one more.

    A replica can come back older than it was, with the snapshot of a virtual machine. Counted from
    what is stored alone, its next life would look like one long over, and nobody would listen.
    """
    return max(last + 1, wall_ms)


def first_incarnation(start: int) -> int:
    """Return the incarnation that a start begins with; the low bits are left for refutations."""
    return start << REFUTATION_BITS


def epoch_of(start: int, random_bits: int) -> int:
    """Return the epoch of a start's datagrams.

    Random bits below the start: machines copied from one image must never share a nonce.
    """
    return start << EPOCH_RANDOM_BITS | random_bits


def short(node: bytes) -> str:
    """Return a node id as people read it in logs."""
    return node.hex()[:8]
