"""Names what a node wants done: its driver carries these out, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clustersession.core.identity import Address, Identity
from clustersession.core.state import SessionState
from clustersession.node.store_calls import StoreCall


@dataclass(frozen=True, slots=True)
class Send:
    """Send to a linked node, reliably and in order; without a link it is lost."""

    node: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Multicast:
    """Send once to the group."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Dial:
    """Try to connect; answered by ``Life.dialled`` or ``Life.dial_failed``."""

    address: Address


@dataclass(frozen=True, slots=True)
class CheckAddress:
    """Try whether anybody is reached at the address that a node tells; if not: ``address_failed``.
    """

    identity: Identity


@dataclass(frozen=True, slots=True)
class SealAs:
    """Send datagrams as this node and in this epoch from now on; see ``wire.envelope.Sealer``."""

    node: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class Unlink:
    """Close every connection to a node."""

    node: bytes


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Answer whoever waits for a write to be confirmed: so many peers hold it.

    0: there is nobody who could. -1: there is, but it has been too slow to be waited for.
    """

    token: int
    confirmations: int


@dataclass(frozen=True, slots=True)
class FetchAnswered:
    """Answer whoever waits for a session, or for those of a user: whether it is in the replica now.
    """

    token: int
    found: bool


@dataclass(frozen=True, slots=True)
class Located:
    """Answer whoever asks for copies: what each peer holds, and which peers said nothing."""

    token: int
    copies: Mapping[bytes, SessionState | None]
    silent: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BeginAgain:
    """Go on as a new node: the replica has lost its past, and must not give its places out twice.

    date_again: or its times were wrong, and are to be written again.

    Repeated as long as nothing comes of it. ``Life`` carries it out; the driver sees it just before
    that, to pass on what the old life has to tell while the members that it knew have names.
    """

    date_again: bool = False


@dataclass(frozen=True, slots=True)
class AskStore:
    """Send a group of calls to the store; answered by ``Engine.store_answered`` with its number.

    In order, and after the groups before it. Without a connection it is lost.
    """

    number: int
    calls: Sequence[StoreCall]


@dataclass(frozen=True, slots=True)
class DropStore:
    """Break the connection with the store, which says nothing; ``store_down`` and another follow.
    """


@dataclass(frozen=True, slots=True)
class SyncJournal:
    """Bring to the disk what was appended to the journal; answered by ``Engine.journal_synced``.

    Numbers grow, and an answer stands for all smaller ones too.
    """

    number: int


@dataclass(frozen=True, slots=True)
class LoadRecovered:
    """Read a part of what waits in the journal, after a key; answered by ``Engine.recovered``.

    ends: of what has ended, and of revocations, only.
    """

    ends: bool
    after_key: str


@dataclass(frozen=True, slots=True)
class RecoveryOver:
    """Let go of what waited in the journal, once it has a copy of the replica as it is now."""


Reply = Confirmed | FetchAnswered | Located
Journaled = SyncJournal | LoadRecovered | RecoveryOver
Outward = (
    Multicast | Dial | CheckAddress | SealAs | AskStore | DropStore | Reply | BeginAgain | Journaled
)
"""What ``Life.effects`` leaves to the driver."""
Effect = Send | Unlink | Outward
