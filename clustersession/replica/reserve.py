"""Decides which writes may use the reserve of a nearly full replica, and how much of it.

A nearly full replica takes ends to the last, and accesses for a while; see ``engines.contract``.
"""

from collections.abc import Iterable, Sequence

from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import Change, Delta


def share_left_by(changes: Sequence[Change]) -> float:
    """Return the share of the reserve that a commit must leave.

    That is all of it for a commit that stores more, half for accesses, none for one that only ends.
    """
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
    """Return the deltas that end a session, or a user's sessions."""
    return [d for d in deltas if d.state.ended is not None or d.key[0] == RESERVED_PREFIX]
