"""What the methods of a replica return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clustersession.core.feed import Cursor
from clustersession.core.state import SessionState

Observer = Callable[[Sequence[tuple[str, SessionState | None, SessionState]]], None]
"""Takes each session that has changed: its key, the copy before, the copy now."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A local commit: the feed's head after it, and each session as it stands (None: no effect)."""

    head: int
    states: Sequence[SessionState | None]

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
