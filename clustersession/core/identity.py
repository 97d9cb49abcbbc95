"""Who a node is, and what it says about itself."""

from enum import IntEnum
from typing import NamedTuple

NODE_ID_BYTES = 8
REFUTATION_BITS = 20


class Address(NamedTuple):
    """Where a node's TCP receiver listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Phase(IntEnum):
    """What a node is doing, in its own words. Numbers are on the wire: append only."""

    JOINING = 0
    READY = 1
    DRAINING = 2
    LEAVING = 3


class Identity(NamedTuple):
    """One life of one node.

    The incarnation grows with every start and with every refuted suspicion, so an older word
    about a node never overrides a newer one.
    """

    node: bytes
    incarnation: int
    route: str
    address: Address


def first_incarnation(starts: int) -> int:
    """The incarnation of the n-th start; the low bits are left for refutations."""
    return starts << REFUTATION_BITS


def short(node: bytes) -> str:
    """A node id as people read it in logs."""
    return node.hex()[:8]
