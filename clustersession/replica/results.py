"""Holds the types that a replica's methods return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clustersession.core.feed import Cursor
from clustersession.core.state import SessionState

Stored = tuple[str, SessionState | None, SessionState]
"""A session that a transaction wrote: its key, the copy before (None: there was none), the copy
after."""

Observer = Callable[[Sequence[Stored]], None]
"""Takes every session that a transaction wrote."""


class Committed(NamedTuple):
    """Tells what a local commit did.

    head: the feed's head after it. states: for each change, the session as it stands; None for a
    change that had no effect. stored: every session that was written, those that a revocation
    among the changes ended included, with the copies that the transaction itself saw.
    """

    head: int
    states: Sequence[SessionState | None]
    stored: Sequence[Stored] = ()

    @property
    def effective(self) -> bool:
        """Tell whether any change had an effect."""
        return self.states.count(None) < len(self.states)


@dataclass(frozen=True, slots=True)
class Applied:
    """Tells what became of a peer's batch.

    cursor: ours on its feed, afterwards. changed: how many sessions changed here. missing: those to
    fetch whole, because only a part came. refused_future: a stamp was too far ahead; nothing was
    applied.
    """

    cursor: Cursor
    changed: int
    missing: Sequence[str]
    refused_future: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotPage:
    """Holds sessions after a key, with the cursors that were true before they were read.

    The order is the same on every node: by bucket (see ``core.digest``), then by key.
    """

    sessions: Sequence[tuple[str, SessionState]]
    next_key: str
    done: bool
    cursors: Mapping[bytes, Cursor]


@dataclass(frozen=True, slots=True)
class Listed:
    """Lists a session for anti-entropy."""

    key: str
    versions: Mapping[bytes, int]
    expires_ms: int


@dataclass(frozen=True, slots=True)
class ReplicaStats:
    """Holds counts for the status: ``sessions`` are live, ``tombstones`` have ended."""

    sessions: int
    tombstones: int
    feed_entries: int
    head: int
    bytes_used: int
    bytes_max: int
