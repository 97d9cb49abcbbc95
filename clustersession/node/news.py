"""Names what a node tells the log, metrics and tests. Nothing waits for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from clustersession.core.identity import Address
from clustersession.core.membership import MembershipEvent


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
class RecoveryWaits:
    """What has ended is back after a power cut; live sessions wait for these members' ends."""

    required: Mapping[bytes, str]


@dataclass(frozen=True, slots=True)
class Recovered:
    """The sessions that were here before a power cut are back, so many of them changed us."""

    sessions: int


@dataclass(frozen=True, slots=True)
class RecoveryDropped:
    """Live sessions from before a power cut were dropped: these nodes' ends never came."""

    missing: tuple[bytes, ...]


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
    """A session is too large for any message; it stays on this node alone."""

    key: str


@dataclass(frozen=True, slots=True)
class StoreFull:
    """The store has no space for a session; it is tried again, and what needs none goes on."""


@dataclass(frozen=True, slots=True)
class StoreHasSpace:
    """The store has taken everything that it had no space for."""


@dataclass(frozen=True, slots=True)
class StoreDamaged:
    """A session in the store cannot be read; ``is_foreign``: it was sealed with another secret."""

    key: str
    is_foreign: bool


@dataclass(frozen=True, slots=True)
class MessageDropped:
    """A peer's message could not be used."""

    node: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class ReplicaFailed:
    """The replica failed in the middle of what time or the workers brought; it is tried again."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooManyLinks:
    """There are more connections than this host's descriptors allow; the least known one goes."""

    links_max: int


@dataclass(frozen=True, slots=True)
class TimesWrong:
    """The replica's times lie far ahead of all clocks: they are written again, by a new node id."""

    ahead_ms: int


@dataclass(frozen=True, slots=True)
class NoNewNodeId:
    """A new node id is needed, and the replica could not be given one; it is tried again."""

    reason: str


@dataclass(frozen=True, slots=True)
class ViewNotWritten:
    """The workers still route by an old view; it is tried again."""

    reason: str


News = (
    BecameReady | SnapshotLoading | Unreachable | SelfUnreachable | ClockSkewed
    | FutureRefused | PastLost | MulticastUnheard | MulticastHeard | Repaired | GapFound | TooLarge
    | MessageDropped | ReplicaFailed | TimesWrong | TooManyLinks | NoNewNodeId
    | ViewNotWritten | RecoveryWaits | Recovered | RecoveryDropped
    | StoreFull | StoreHasSpace | StoreDamaged | MembershipEvent
)
