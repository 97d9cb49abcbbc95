"""What happened to a session between two copies of it, in the words of events."""

from typing import NamedTuple

from clustersession.core.state import SYSTEM_PREFIX, SessionState

CREATED = "created"
CHANGED = "changed"
ENDED = "ended"
EXPIRED = "expired"
PRINCIPAL_ENDED = "principal_ended"


class Transition(NamedTuple):
    """One of the kinds above, the attributes that changed, and the reason of an end."""

    kind: str
    names: tuple[str, ...] = ()
    reason: str | None = None


def transition(before: SessionState | None, after: SessionState) -> Transition | None:
    """What an application cares about; None for a mere access, or an end that it knows of."""
    if after.ended is not None:
        if before is None or before.ended is not None:
            return None
        return Transition(ENDED, reason=after.ended.reason)
    names = changed_names(before, after)
    if before is None:
        return Transition(CREATED, names)
    return Transition(CHANGED, names) if names else None


def changed_names(before: SessionState | None, after: SessionState) -> tuple[str, ...]:
    """The attributes whose values differ, those that are gone included."""
    known = {} if before is None else before.registers
    found = []
    for name, register in after.registers.items():
        if name.startswith(SYSTEM_PREFIX):
            continue
        old = known.get(name)
        if (None if old is None else old.value) != register.value:
            found.append(name)
    return tuple(found)
