"""Says what a node asks of its journal, and what it is told of the journal's past.

The journal keeps on the disk what the node wrote and received, so that it is there again when the
power comes back. Appending is a call and no effect: what a peer sent must be in the journal before
the replica takes it, or an agent that is killed between the two leaves a replica that has what the
journal lacks, and the next agent would confirm it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from clustersession.core.state import SessionState
from clustersession.wire.journal import JournalEntry


@dataclass(frozen=True, slots=True)
class JournalPast:
    """Is what stood in a journal when it was opened; empty for a new one.

    node, former: of the newest ``JournalLife``. members: of the newest ``JournalMembers``.
    own_upto: up to where it has what that node wrote. whole: nothing of it is damaged but a torn
    end. waiting: the replica was begun anew, and what was in it is in this journal.
    """

    node: bytes = b""
    former: tuple[bytes, ...] = ()
    members: Mapping[bytes, str] = field(default_factory=dict)
    own_upto: int = 0
    whole: bool = True
    waiting: bool = False


NEW_JOURNAL = JournalPast()
"""Is the past of a node that has none."""


class JournalPage(NamedTuple):
    """Is a part of what waits in a journal, as ``effects.LoadRecovered`` asked for it.

    next_key: where the next part begins; of the journal's own making.
    """

    ends: bool
    after_key: str
    sessions: Sequence[tuple[str, SessionState]]
    next_key: str
    done: bool


class JournalPort(Protocol):
    """Is the journal of a node. No method raises: the engine is told by ``journal_failed``."""

    @property
    def past(self) -> JournalPast:
        """Return what stood there when it was opened."""
        ...

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """Have the kernel keep entries: they survive the process, and the machine once synced."""
        ...
