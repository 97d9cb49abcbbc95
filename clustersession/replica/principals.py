"""Is the index from a user to his sessions; its entries are hints, to be compared with those."""

from clustersession.core.revocation import (
    RESERVED_PREFIX,
    judged,
    principal_tag,
    revocation_in,
    revocation_key,
)
from clustersession.core.state import PRINCIPAL, SessionState, principal_of
from clustersession.replica import tables
from clustersession.replica.engines.contract import ReadTransaction


def tag_of(state: SessionState) -> bytes | None:
    """Return what stands for the session's user in the index; None when it has none."""
    register = state.registers.get(PRINCIPAL)
    if register is None or register.value is None:
        return None
    return principal_tag(register.value)


def keys_of(
    transaction: ReadTransaction, tag: bytes, after: str = "", limit: int | None = None
) -> list[str]:
    """Return the sessions that the index names for a user: hints, to be compared with those.

    ``after``: begin behind this session. ``limit``: how many there may be; None: all.
    """
    keys: list[str] = []
    start = tables.principal_key(tag, after + "\0" if after else "")
    for entry, _ in transaction.scan(tables.PRINCIPALS, start):
        if not entry.startswith(tag) or len(keys) == limit:
            break
        keys.append(tables.session_of_principal(entry))
    return keys


def sessions_of(transaction: ReadTransaction, principal: str) -> list[tuple[str, SessionState]]:
    """Return the sessions of a user that have not ended."""
    tag = principal_tag(principal)
    revocation = revocation_in(_state(transaction, revocation_key(tag)))
    found: list[tuple[str, SessionState]] = []
    for key in keys_of(transaction, tag):
        state = _state(transaction, key)
        if state is not None and principal_of(judged(key, state, revocation)) == principal:
            found.append((key, state))
    return found


def is_indexed(transaction: ReadTransaction, key: str) -> bool:
    """Tell whether the index has the entry that a session should have."""
    state = _state(transaction, key)
    tag = None if state is None else tag_of(state)
    return tag is None or (
        transaction.get(tables.PRINCIPALS, tables.principal_key(tag, key)) is not None
    )


def is_users(key: str, state: SessionState) -> bool:
    """Tell whether a session is somebody's, and neither ended nor a record of the library's."""
    return state.ended is None and not key.startswith(RESERVED_PREFIX)


def _state(transaction: ReadTransaction, key: str) -> SessionState | None:
    data = transaction.get(tables.SESSIONS, tables.session_key(key))
    return None if data is None else tables.state_of_record(data)
