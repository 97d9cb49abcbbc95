"""What a session holds, as the registers of a commit."""

from clustersession.core.state import SessionState, expires_ms
from clustersession.session.changes import Changes
from clustersession.session.session import Session


def with_system(session: Session, changes: Changes) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The changes of a request, those of system registers included: to set, to delete."""
    sets = dict(changes.sets)
    deletes = changes.deletes
    for name, data in session.system.items():
        if data is None:
            deletes += (name,)
        else:
            sets[name] = data
    return sets, deletes


def stored_values(state: SessionState) -> dict[str, bytes]:
    """The registers of a copy that are not deleted."""
    return {n: r.value for n, r in state.registers.items() if r.value is not None}


def is_live(state: SessionState | None, now_ms: int) -> bool:
    """Whether a copy is neither absent, nor ended, nor expired."""
    return state is not None and state.ended is None and now_ms <= expires_ms(state)


def may_live_elsewhere(state: SessionState, now_ms: int) -> bool:
    """Whether a peer may know of a later access to a session that looks idle-expired here.

    For as long as it may: this node can have been cut off. Once it is swept here peers are asked
    too.
    """
    return state.ended is None and now_ms <= state.deadline_ms
