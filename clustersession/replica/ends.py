"""What a replica that is nearly full still takes: ends to the last, accesses for a while."""

from collections.abc import Iterable, Sequence

from clustersession.core.errors import ReplicaFull
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import Change, Delta, SessionState
from clustersession.replica.protocol import Replica

PART_SHARE = 8


def share_left_by(changes: Sequence[Change]) -> float:
    """How much of the reserve a commit must leave: all if it stores more, none if it ends."""
    share = 0.0
    for change in changes:
        if change.key[0] == RESERVED_PREFIX:
            return 0.0
        if change.end is None:
            larger = change.creation is not None or bool(change.sets)
            # An access moves entries of the indexes, and pages that are split add up.
            share = max(share, 1.0 if larger else 0.5)
    return share


def ends_among(deltas: Iterable[Delta]) -> list[Delta]:
    """Those that end a session, or a user's sessions."""
    return [d for d in deltas if d.state.ended is not None or d.key[0] == RESERVED_PREFIX]


def sweep_in_parts(
    replica: Replica,
    wall_ms: int,
    limit: int,
    removed: list[tuple[str, SessionState]] | None = None,
) -> int:
    """Sweep, in smaller steps while one does not fit; ReplicaFull when not even one session goes.

    A step copies the pages that it touches, and for many sessions those are more than there are.
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
            part = max(1, part // PART_SHARE)
            continue
        gone += swept
        if removed is not None:
            removed += found
        if swept < wanted:
            break
    return gone
