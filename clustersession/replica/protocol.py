"""What a replica is: the contract that the LMDB and the in-memory implementation both pass.

Every method is one transaction. A commit moves session, change feed, expiry index, digests,
sequence number and highest stamp together or not at all; any number of processes of one host may
commit at the same time. Times are wall-clock milliseconds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from clustersession.core.feed import Batch, Cursor
from clustersession.core.state import Change, SessionState

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


class Replica(Protocol):
    """A node's copy of every session."""

    @property
    def node(self) -> bytes:
        """The node id, 8 random bytes drawn when the replica was made empty."""
        ...

    def get(self, key: str) -> SessionState | None:
        """The copy as it stands: it may be ended or past its expiry."""
        ...

    def commit(self, changes: Sequence[Change], wall_ms: int) -> Committed:
        """Apply local changes in one transaction; each effective one takes a sequence number.

        Changes with no effect (see ``apply_change``; also to a session expired at ``wall_ms``)
        leave nothing behind. Raises ReplicaFull when there is no space, and SessionTooLarge for
        more attributes or a longer name than a record can hold; then nothing has changed.
        """
        ...

    def apply(self, batch: Batch, wall_ms: int, *, whole: bool = False) -> Applied:
        """Apply a peer's batch and move our cursor on its feed, in one transaction.

        A batch that does not follow the cursor, or one with a stamp too far in the future, changes
        nothing; ``whole``: nor does one with changes of a session that is missing here. Sessions
        that are expired here and not held are passed over.
        """
        ...

    def merge(self, sessions: Iterable[tuple[str, SessionState]], wall_ms: int) -> int:
        """Join whole copies from a snapshot, a fetch or anti-entropy; returns how many changed us.

        Expired ones that are not held, and ones with a stamp too far in the future, are passed
        over.
        """
        ...

    def feed(self, floor: int, after: int, bytes_max: int) -> Batch:
        """Our own feed after a position, with everything we wrote above ``floor``.

        At least one session when there is one, at most about ``bytes_max``; ``complete`` when it
        reached the head.
        """
        ...

    def head(self) -> int:
        """The highest sequence number issued."""
        ...

    def cursors(self) -> dict[bytes, Cursor]:
        """How far we have applied each other node's feed."""
        ...

    def inherit(self, cursors: Mapping[bytes, Cursor]) -> None:
        """Raise our cursors to a snapshot donor's; a cursor never goes back."""
        ...

    def snapshot(self, after_key: str, bytes_max: int) -> SnapshotPage:
        """The next page of whole sessions, ended ones included, after the given key.

        The cursors include our own head as the cursor on our own feed.
        """
        ...

    def digests(self) -> bytes:
        """One 8-byte big-endian digest per bucket, see ``core.digest``."""
        ...

    def listing(self, buckets: Iterable[int], limit: int) -> list[Listed]:
        """Key, versions and expiry of the sessions in some buckets, at most ``limit``."""
        ...

    def sweep(
        self, wall_ms: int, limit: int, removed: list[tuple[str, SessionState]] | None = None
    ) -> int:
        """Remove at most ``limit`` sessions expired at ``wall_ms``; returns how many went.

        Those that had not ended are appended to ``removed``.
        """
        ...

    def moved(self, after: int, limit: int) -> list[str]:
        """The sessions in our own feed after a place, at most ``limit``."""
        ...

    def observe(self, observer: Observer | None) -> None:
        """Have every change that comes from peers reported, after its transaction."""
        ...

    def keys(self, after_key: str, limit: int) -> list[str]:
        """Session keys after the given one, in the order of a snapshot; for the command line."""
        ...

    def sessions_of(self, principal: str) -> list[tuple[str, SessionState]]:
        """The sessions of a user that have not ended, with their keys; some may be expired."""
        ...

    def index_principals(self) -> None:
        """Complete the index behind ``sessions_of`` by what an older version wrote beside us."""
        ...

    def load_note(self, name: str) -> bytes | None:
        """A small named value kept beside the sessions (incarnation, view of members, loaded)."""
        ...

    def save_note(self, name: str, value: bytes) -> None:
        """Keep a small named value."""
        ...

    def note_opening(self) -> None:
        """Keep where our feed stands, for the agent to come.

        To be called when no other process has the replica open, before anything is written.
        """
        ...

    def opening(self) -> int:
        """Where our feed stood at the last opening; the present head once that is forgotten."""
        ...

    def forget_opening(self) -> None:
        """Peers have been told of what was written since: the next agent must not go by it."""
        ...

    def renew_identity(self, node: bytes, floor: int) -> None:
        """Take a new node id because peers have seen a future of ours that we do not remember.

        Sessions and cursors stay. The feed begins again with what was written beyond ``floor``,
        which becomes the new id's: its places may have been given out before, to other writes.
        Anti-entropy spreads what else the peers may not have.
        """
        ...

    def stats(self) -> ReplicaStats:
        """Counts for the status command."""
        ...

    def close(self) -> None:
        """Release the files; safe to call twice."""
        ...
