"""What the methods of a replica return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clustersession.core.feed import Cursor
from clustersession.core.state import SessionState

Stored = tuple[str, SessionState | None, SessionState]
"""A session that a transaction wrote: its key, the copy before (None: there was none), the copy
after."""

Observer = Callable[[Sequence[Stored]], None]
"""Takes every session that a transaction wrote."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A local commit.

    head: the feed's head after it. states: for each change, the session as it stands; None for a
    change that had no effect. stored: every session that was written, those that a revocation
    among the changes ended included, with the copies that the transaction itself saw.
    """

    head: int
    states: Sequence[SessionState | None]
    stored: Sequence[Stored] = ()

    @property
    def effective(self) -> bool:
        """Whether any change had an effect."""
        return self.states.count(None) < len(self.states)


@dataclass(frozen=True, slots=True)
class Applied:
    """A peer's batch, applied: our cursor on its feed, and the sessions to fetch whole."""

    cursor: Cursor
    changed: int
    missing: Sequence[str]
    refused_future: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotPage:
    """Sessions after a key, with the cursors that were true before they were read.

    The order is the same on every node: by bucket (see ``core.digest``), then by key.
    """

    sessions: Sequence[tuple[str, SessionState]]
    next_key: str
    done: bool
    cursors: Mapping[bytes, Cursor]


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of an anti-entropy listing."""

    key: str
    versions: Mapping[bytes, int]
    expires_ms: int


@dataclass(frozen=True, slots=True)
class ReplicaStats:
    """Counts for the status command. ``sessions`` are live ones, ``tombstones`` ended ones."""

    sessions: int
    tombstones: int
    feed_entries: int
    head: int
    bytes_used: int
    bytes_max: int
