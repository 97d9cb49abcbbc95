"""Names what a node asks of a store, and what the store answers.

The node emits calls in numbered groups; whoever holds the connection sends a group at once, in
order, and hands its answers back under the same number. A group is answered whole or not at all:
when the connection breaks, everything that was not answered is given up, and the node hears that
the store is away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from clustersession.core.feed import Cursor
from clustersession.core.state import SessionState

STORE: Final = b""
"""Stands for the store where a node id does: no node has an empty one."""


ENTRIES_MAX: Final = 10_000
"""How many sessions of a user are listed: as many as a limit can allow."""


class MergeAnswer(IntEnum):
    """Says what a merge has come to.

    DONE: the store has changed. SAME: it had all of it. WHOLE_COPY_WANTED: it has nothing of the
    session, and a part is none. FROM_THE_FUTURE: a stamp is later than clocks may differ.
    TOO_LARGE: the session would have more attributes and writers than one may. FULL: the session
    would grow, and the store has no space; an end and a revocation are taken all the same. None of
    the three has changed anything.
    """

    DONE = 1
    SAME = 0
    WHOLE_COPY_WANTED = -1
    FROM_THE_FUTURE = -2
    TOO_LARGE = -3
    FULL = -4


@dataclass(frozen=True, slots=True)
class Merge:
    """Join a copy, or what a delta carries (not ``whole``), with the store's.

    damaged: what the store is to drop first, if it has not changed. Answered by MergeAnswer.
    """

    key: str
    state: SessionState
    whole: bool
    damaged: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """Get a session, and hear from now on when it changes.

    Answered by its state, by Damaged, or by None: none there.
    """

    key: str


@dataclass(frozen=True, slots=True)
class Damaged:
    """Is a session in the store that cannot be read.

    parts: fields that no host wrote, each with its value. is_foreign: a part was sealed with a
    secret that we do not have, and is somebody's.
    """

    parts: Sequence[bytes] = ()
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class KeepCursor:
    """Keep how far the store has our feed, to be read back by ``Beat``. Answered by None.

    The floor follows the data: everything up to it is there. The position goes before it: nothing
    beyond it is, so that a node whose replica fell back learns of it.
    """

    node: bytes
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Beat:
    """Tell that we live, and look who else does. Answered by ``Beats``.

    data: what the others get to read; empty: we leave, and the others read that too for a while.
    edition: not below 0; raised when the data differ in more than the time. known: the edition of
    all, as the last answer had it; empty: whatever it is, we want all that the others told.
    late_ms, gone_ms: we want to hear of others that were silent for so long, and after the second
    no more.
    """

    node: bytes
    data: bytes
    edition: int = 0
    known: bytes = b""
    late_ms: int = 0
    gone_ms: int = 0


class IndexEntry(NamedTuple):
    """Names a session in the index of its user.

    stamp: of the register that says whose it is: time, node and place. Another login of the same
    session is another entry, so an entry whose stamp was beaten names nobody's session for ever.
    """

    key: str
    stamp: tuple[int, bytes, int]


@dataclass(frozen=True, slots=True)
class Enter:
    """Have the index of a user name a session until then. Answered by MergeAnswer.

    tag: the user's, see ``core.revocation.principal_tag``.
    """

    tag: bytes
    entry: IndexEntry
    until_ms: int


@dataclass(frozen=True, slots=True)
class ReadIndex:
    """Get what the index names for a user: the ENTRIES_MAX that last longest.

    Answered by them, or by Damaged: what stands there is no index.
    """

    tag: bytes


@dataclass(frozen=True, slots=True)
class Forget:
    """Take entries out of the index of a user. Answered by None."""

    tag: bytes
    entries: Sequence[IndexEntry]


StoreCall = Merge | Read | KeepCursor | Beat | Enter | ReadIndex | Forget


class Told(NamedTuple):
    """Is what another node told last, and how many milliseconds ago.

    is_followed: the edition of all changes before it is silent for too long to be waited for.
    """

    data: bytes
    age_ms: int
    is_followed: bool


@dataclass(frozen=True, slots=True)
class Beats:
    """Says who has beaten lately, and what the store remembers of us.

    wall_ms: the store's clock. memory: drawn when the store was first used by this cluster; another
    one, or none before, says that it has forgotten what it had. cursor: what ``KeepCursor`` kept of
    us, None for nothing. edition: of what all have told. members: what the others told last; None:
    the edition is the one that we know, and of those that are followed nobody was silent for longer
    than silence_ms.
    """

    wall_ms: int
    memory: bytes
    cursor: Cursor | None
    members: Mapping[bytes, Told] | None
    edition: bytes = b""
    silence_ms: int = 0


StoreAnswer = MergeAnswer | SessionState | Damaged | Beats | tuple[IndexEntry, ...] | None
