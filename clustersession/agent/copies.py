"""Describes copies of a session without what the application stored."""

from typing import Any

from clustersession.core.clock import wall_ms_of
from clustersession.core.identity import short
from clustersession.core.state import (
    PRINCIPAL,
    SYSTEM_PREFIX,
    SessionState,
    expires_ms,
    idle_timeout_ms,
)
from clustersession.node.effects import Located
from clustersession.node.engine import Engine

HELD, NOT_HELD, SILENT = "held", "not held", "silent"


def copies_of(engine: Engine, located: Located) -> list[dict[str, Any]]:
    """Describe what each peer that was asked holds; ``copy`` says HELD, NOT_HELD or SILENT."""
    found = [describe_copy(node, state) for node, state in sorted(located.copies.items())]
    found += [{"node": short(node), "copy": SILENT} for node in located.silent]
    members = {short(member.identity.node): member.identity.route for member in engine.membership}
    return [{"route": members.get(copy["node"], ""), **copy} for copy in found]


def describe_copy(node: bytes, state: SessionState | None) -> dict[str, Any]:
    """Describe one copy in plain values. Times are wall-clock milliseconds."""
    if state is None:
        return {"node": short(node), "copy": NOT_HELD}
    ended = state.ended
    return {
        "node": short(node),
        "copy": HELD,
        "created_ms": state.created_ms,
        "accessed_ms": state.accessed_ms,
        "deadline_ms": state.deadline_ms,
        "expires_ms": expires_ms(state),
        "idle_ms": idle_timeout_ms(state),
        "ended": None if ended is None else {
            "at_ms": wall_ms_of(ended.time), "node": short(ended.node), "reason": ended.reason,
        },
        "versions": {short(writer): seq for writer, seq in sorted(state.versions.items())},
        "attributes": sum(
            register.value is not None and not name.startswith(SYSTEM_PREFIX)
            for name, register in state.registers.items()
        ),
        "has_principal": PRINCIPAL in state.registers,
    }
