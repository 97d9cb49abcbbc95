"""Names what a node wants done: its driver carries these out, in order."""

from collections.abc import Mapping
from dataclasses import dataclass

from clustersession.core.identity import Address, Identity
from clustersession.core.state import SessionState


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
    """Answer whoever waits for a session: whether it is in the replica now."""

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


Reply = Confirmed | FetchAnswered | Located
Outward = Multicast | Dial | CheckAddress | SealAs | Reply | BeginAgain
"""What ``Life.effects`` leaves to the driver."""
Effect = Send | Unlink | Outward
