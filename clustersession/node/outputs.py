"""What the engine wants done, and what it has to tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from clustersession.core.identity import Address
from clustersession.core.membership import MembershipEvent
from clustersession.core.state import SessionState


class Moment(NamedTuple):
    """One instant on both clocks: monotonic seconds and wall-clock milliseconds."""

    now_s: float
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send to a linked node, reliably and in order."""

    node: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Multicast:
    """Send once to the group."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Dial:
    """Try to connect; answered by ``link_up`` or ``dial_failed``."""

    address: Address


@dataclass(frozen=True, slots=True)
class Unlink:
    """Close every connection to a node."""

    node: bytes


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A write that somebody waits for: how many peers hold it.

    0: there is nobody who could. -1: there is, but it has been too slow to be waited for.
    """

    token: int
    confirmations: int


@dataclass(frozen=True, slots=True)
class FetchAnswered:
    """A session that somebody waits for: whether it is in the replica now."""

    token: int
    found: bool


@dataclass(frozen=True, slots=True)
class Located:
    """What each peer that answered holds of a session, and which peers did not answer."""

    token: int
    copies: Mapping[bytes, SessionState | None]
    silent: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BecameReady:
    """This node holds what the cluster holds, or has waited for it long enough."""

    how: str


@dataclass(frozen=True, slots=True)
class SnapshotLoading:
    """A page of the donor's sessions has been loaded."""

    donor: bytes
    loaded: int
    total: int


@dataclass(frozen=True, slots=True)
class MembersChanged:
    """The view that workers route by is no longer true."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A peer that came to us is not to be found at the address it tells everybody."""

    node: bytes
    address: Address
    reason: str


@dataclass(frozen=True, slots=True)
class SelfUnreachable:
    """A peer that we went to does not find us at the address we tell everybody."""

    node: bytes
    address: Address


@dataclass(frozen=True, slots=True)
class ClockSkewed:
    """A peer's wall clock differs from ours by more than is healthy."""

    node: bytes
    skew_ms: int


@dataclass(frozen=True, slots=True)
class FutureRefused:
    """A peer's changes carry stamps too far in the future; they wait until its clock is right."""

    node: bytes


@dataclass(frozen=True, slots=True)
class PastLost:
    """A peer has seen writes of ours that we do not remember: a new node id is needed."""

    node: bytes


@dataclass(frozen=True, slots=True)
class MulticastUnheard:
    """Not even our own heartbeats come back from the group."""


@dataclass(frozen=True, slots=True)
class MulticastHeard:
    """Our own heartbeats come back after all."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """Anti-entropy brought sessions that the streams had missed."""

    node: bytes
    sessions: int


@dataclass(frozen=True, slots=True)
class GapFound:
    """Changes of a peer did not arrive and were asked for again."""

    node: bytes


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A session that no message can carry; it stays on this node alone."""

    key: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A peer's message that could not be used, and why."""

    node: bytes
    reason: str


Output = (
    Send | Multicast | Dial | Unlink | Acknowledged | FetchAnswered | Located | BecameReady
    | SnapshotLoading | MembersChanged | ClockSkewed | FutureRefused | PastLost | MulticastUnheard
    | MulticastHeard | Unreachable | SelfUnreachable | Repaired | GapFound | TooLarge | Dropped
    | MembershipEvent
)
