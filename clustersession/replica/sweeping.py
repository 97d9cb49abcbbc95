"""Does in many transactions what would keep other writers waiting, or not fit, in one."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from clustersession.core.errors import ReplicaFull
from clustersession.core.state import SessionState
from clustersession.replica.replica import Replica
from clustersession.replica.results import Committed, Stored

SMALLER_STEP_DIVISOR = 8
BETWEEN_PARTS_S = 0.001
"""How long to pause between parts: who takes LMDB's lock again at once keeps the others out."""


def sweep_in_parts(
    replica: Replica,
    wall_ms: int,
    limit: int,
    removed: list[tuple[str, SessionState]] | None = None,
) -> int:
    """Remove at most ``limit`` expired sessions, in smaller steps while one does not fit.

    A step copies the pages that it touches, and for many sessions those are more than there are.
    Returns how many went. Raises ReplicaFull when not even one session could be removed.
    """
    part, gone = limit, 0
    while gone < limit:
        found: list[tuple[str, SessionState]] = []
        wanted = min(part, limit - gone)
        try:
            swept = replica.sweep(wall_ms, wanted, found)
        except ReplicaFull:
            if part == 1 and not gone:
                raise
            if part == 1:
                break
            part = max(1, part // SMALLER_STEP_DIVISOR)
            continue
        gone += swept
        if removed is not None:
            removed += found
        if swept < wanted:
            break
    return gone


def reclaim_in_parts(
    replica: Replica, wall_ms: int, limit: int, *, spread: bool
) -> Committed:
    """Delete expired attributes of at most ``limit`` sessions, of fewer while so many do not fit.

    Returns what was done, and a state for each session that was looked at. Raises ReplicaFull when
    there is no space for even one.
    """
    while True:
        try:
            return replica.reclaim_due(wall_ms, limit, spread=spread)
        except ReplicaFull:
            if limit == 1:
                raise
            limit = max(1, limit // SMALLER_STEP_DIVISOR)


def end_revoked_in_parts(replica: Replica) -> Iterator[Sequence[Stored]]:
    """End what is left of revoked sessions; yield what each transaction stored.

    The caller pauses in between. Where there is no space it stops; nobody is served those sessions,
    and whoever sweeps goes on.
    """
    with suppress(ReplicaFull):
        while (stored := replica.end_revoked()) is not None:
            yield stored
