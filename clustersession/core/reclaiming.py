"""Takes what has expired out of a copy of a session.

In the place of an expired value comes its deletion. That is the write of the same time and node,
with the place after it in that node's feed: it wins over the value, and over nothing that anybody
has written since, however close. Each node makes the same one by itself, when its own clock says
so, and claims no write by it. So nothing has to be sent, copies that differ only in that have the
same version, and joining them gives the deletion.

A store cannot see when a sealed value expires. There the node that has written the value makes the
deletion a write of its own, which goes to the store with its feed.
"""

from collections.abc import Mapping

from clustersession.core.expiring_values import is_expired, until_of
from clustersession.core.placement import owner
from clustersession.core.state import (
    LOCAL_PREFIX,
    SYSTEM_PREFIX,
    Register,
    SessionState,
    new_state,
)

NEVER_MS = 2**64
"""When the next attribute of a session expires that has none which does."""

PLACE_MAX = 2**63 - 1
"""What a copy can hold. Nobody writes so much; a forged copy that says so must stay readable."""


def next_expiry_ms(state: SessionState) -> int:
    """Return until when all of a session's attributes count, in wall-clock milliseconds."""
    known_ms = state._next_expiry_ms
    if known_ms is not None:
        return known_ms
    next_ms = min(untils(state).values(), default=NEVER_MS)
    object.__setattr__(state, "_next_expiry_ms", next_ms)
    return next_ms


def untils(state: SessionState) -> dict[str, int]:
    """Return until when attributes count, by stored name, of those whose time is limited."""
    return {
        name: until_ms
        for name, register in state.registers.items()
        if register.value is not None and (until_ms := until_of(register.value)) is not None
        and (not name.startswith(SYSTEM_PREFIX) or name.startswith(LOCAL_PREFIX))
    }


def note_that_none_expires(state: SessionState) -> None:
    """Spare ``next_expiry_ms`` its look, where it is known that no attribute expires."""
    object.__setattr__(state, "_next_expiry_ms", NEVER_MS)


def without_expired(
    state: SessionState, now_ms: int, *, node: bytes = b"", seq: int = 0
) -> SessionState:
    """Return a copy with deletions for what has expired; the very same one when nothing has.

    ``node``: what this node has written becomes its write ``seq``, to go to a store.
    """
    if next_expiry_ms(state) > now_ms:
        return state
    registers = dict(state.registers)
    versions: Mapping[bytes, int] = state.versions
    for name in untils(state):
        time, writer, place, value = state.registers[name]
        if value is None or not is_expired(value, now_ms):
            continue
        if writer == node and not name.startswith(LOCAL_PREFIX):
            versions = {**versions, node: seq}
            registers[name] = Register(time, writer, seq, None)
        else:
            registers[name] = Register(time, writer, min(place + 1, PLACE_MAX), None)
    return new_state(
        state.created_ms, state.accessed_ms, state.deadline_ms, registers, versions, state.ended
    )


def is_told_by(
    route: str,
    stored: tuple[str, SessionState | None, SessionState],
    serving: frozenset[str],
    *,
    spread: bool,
) -> bool:
    """Tell whether callbacks of this node are to hear of what every node finds out by itself.

    ``spread``: the writer's deletion may reach others before they look. So it is the one to tell,
    and else the node that owns the session among those that serve. stored: key, before and after.
    """
    key, before, after = stored
    if spread:
        return before is not None and before.versions != after.versions
    return owner(key, serving | {route}) == route


__all__ = [
    "NEVER_MS", "is_told_by", "next_expiry_ms", "note_that_none_expires", "untils",
    "without_expired",
]
