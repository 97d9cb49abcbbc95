"""What a replica that is nearly full still takes: changes that end sessions, and small ones."""

from collections.abc import Iterable, Sequence

from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import Change, Delta


def grows(changes: Sequence[Change]) -> bool:
    """Whether a commit makes the replica larger; a revocation may, and passes all the same."""
    larger = False
    for change in changes:
        if change.key[0] == RESERVED_PREFIX:
            return False
        larger |= change.end is None and (change.creation is not None or bool(change.sets))
    return larger


def ends_among(deltas: Iterable[Delta]) -> list[Delta]:
    """Those that end a session, or a user's sessions."""
    return [d for d in deltas if d.state.ended is not None or d.key[0] == RESERVED_PREFIX]
