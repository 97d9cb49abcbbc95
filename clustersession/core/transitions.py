"""Derives events, which nothing else does, from a session's copies before and after.

Whoever commits compares the copies of its own transaction, the agent those of a peer's batch. So
one change means one thing, whether it is told where it was made or on every node.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from clustersession.core.counters import Counters
from clustersession.core.elements import ELEMENT_PREFIX, element_name
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import (
    ENDED_INVALIDATED,
    ENDED_LIMIT,
    ENDED_REPLACED,
    ENDED_REVOKED,
    ENDED_ROTATED,
    PRINCIPAL,
    SYSTEM_PREFIX,
    SessionState,
)

CREATED = "created"
CHANGED = "changed"
ENDED = "ended"
EXPIRED = "expired"
PRINCIPAL_ENDED = "principal_ended"

END_REASONS = (ENDED_INVALIDATED, ENDED_LIMIT, ENDED_REPLACED, ENDED_REVOKED, ENDED_ROTATED)
_COUNTERS = {reason: f"ended_{reason}" for reason in END_REASONS}


class Transition(NamedTuple):
    """Describes one event of one session.

    kind: one of the above. names: the attributes that changed. reason: why the session ended.
    state: the copy whose data can be read; of a session that is over, the last one before.
    """

    kind: str
    key: str
    names: tuple[str, ...] = ()
    reason: str | None = None
    state: SessionState | None = None


def transitions(
    stored: Iterable[tuple[str, SessionState | None, SessionState]]
) -> Iterator[Transition]:
    """Derive the events of a transaction from key, copy before and copy after of what it stored."""
    for key, before, after in stored:
        found = None if key.startswith(RESERVED_PREFIX) else _transition(key, before, after)
        if found is not None:
            yield found


def count_lives(
    counters: Counters, stored: Iterable[tuple[str, SessionState | None, SessionState]]
) -> None:
    """Count the sessions that began and ended in a transaction, without looking at attributes.

    A rotation is both: the session goes on under another key. What another version ended with for a
    reason that this one does not know is not counted.
    """
    for key, before, after in stored:
        if after.ended is not None:
            name = _COUNTERS.get(after.ended.reason)
            if name is not None and before is not None and before.ended is None:
                setattr(counters, name, getattr(counters, name) + 1)
        elif before is None and not key.startswith(RESERVED_PREFIX):
            counters.created += 1


def _transition(key: str, before: SessionState | None, after: SessionState) -> Transition | None:
    """Judge one session: an access is no event, nor is the end of one unknown or over already."""
    if after.ended is not None:
        if before is None or before.ended is not None:
            return None
        return Transition(ENDED, key, reason=after.ended.reason, state=before)
    names = changed_names(before, after)
    if before is None:
        return Transition(CREATED, key, names, state=after)
    if names or _differs(PRINCIPAL, before, after):
        return Transition(CHANGED, key, names, state=after)
    return None


def changed_names(before: SessionState | None, after: SessionState) -> tuple[str, ...]:
    """Return the attributes whose values differ, those that are gone included.

    An element stands for the collection that it is of.
    """
    names: dict[str, None] = {}
    for name in after.registers:
        if not name.startswith(SYSTEM_PREFIX):
            if _differs(name, before, after):
                names[name] = None
        elif name.startswith(ELEMENT_PREFIX) and _differs(name, before, after):
            element = element_name(name)
            if element is not None:
                names[element.attribute] = None
    return tuple(names)


def _differs(name: str, before: SessionState | None, after: SessionState) -> bool:
    old = None if before is None else before.registers.get(name)
    new = after.registers.get(name)
    return (None if old is None else old.value) != (None if new is None else new.value)
