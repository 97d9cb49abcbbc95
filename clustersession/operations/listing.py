"""Lists members and sessions as rows of plain values, for people and for programs."""

from collections.abc import Iterable
from typing import Any

from clustersession.core.clock import wall_ms_of
from clustersession.core.elements import element_name
from clustersession.core.ids import log_name
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import Register, SessionState, expires_ms, shared
from clustersession.replica.replica import Replica
from clustersession.session.changes import visible_values
from clustersession.session.label import label_of
from clustersession.session.lifetimes import utc

PAGE = 500


def in_order(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Sort the other nodes as they are listed: by status, then by route."""
    return sorted(status["members"], key=lambda m: (m["status"], m["route"]))


def member_rows(status: dict[str, Any]) -> list[dict[str, Any]]:
    """List the members, this node first; None is what a node cannot say of itself."""
    own = {
        "route": status["route"], "node": status["node"], "address": status.get("address"),
        "status": "self", "phase": status["phase"], "serving": status.get("serving"),
        "since_s": None, "heard_s": None, "uptime_s": _whole(status.get("uptime_s")),
        "clock_skew_ms": None, "reason": "", "carrier": status.get("carrier"),
        "behind_us": None, "we_are_behind": None,
    }
    return [own, *in_order(status)]


def session_rows(
    replica: Replica, count_max: int, now_ms: int, *, with_ended: bool = False
) -> list[dict[str, Any]]:
    """List the first sessions of the replica, in its order."""
    rows: list[dict[str, Any]] = []
    after = ""
    while len(rows) < count_max and (keys := replica.keys(after, PAGE)):
        after = keys[-1]
        for key in keys:
            state = None if key.startswith(RESERVED_PREFIX) else replica.get(key)
            if state is not None and (with_ended or state.ended is None):
                rows.append(session_row(key, state, now_ms))
    return rows[:count_max]


def session_row(key: str, state: SessionState, now_ms: int) -> dict[str, Any]:
    """Describe one session in plain values; its id stays out of it."""
    shown = _attributes(state)
    live = "live" if expires_ms(state) >= now_ms else "expired"
    return {
        "session": log_name(key),
        "state": f"ended ({state.ended.reason})" if state.ended is not None else live,
        "created": when(state.created_ms),
        "last_access": when(state.accessed_ms),
        "expires": when(expires_ms(state)),
        "attributes": len(shown),
        "bytes": sum(map(_bytes_of, shown.values())),
        "label": label_of(state),
    }


def session_detail(key: str, state: SessionState, now_ms: int) -> dict[str, Any]:
    """Describe all of one session but its values: who wrote what, when, how much."""
    attributes = [
        {
            "name": name,
            "bytes": _bytes_of(registers),
            "written": when(wall_ms_of(registers[-1].time)),
            "by_node": registers[-1].node.hex()[:8],
            "sequence": registers[-1].seq,
        }
        for name, registers in sorted(_attributes(state).items())
    ]
    versions = {node.hex()[:8]: seq for node, seq in state.versions.items()}
    return {**session_row(key, state, now_ms), "versions": versions, "attribute_list": attributes}


def when(wall_ms: int) -> str:
    """Write a moment in UTC, for people."""
    return utc(wall_ms).strftime("%Y-%m-%d %H:%M:%S")


def _attributes(state: SessionState) -> dict[str, list[Register]]:
    """Return what each attribute is stored in, the latest write last; those of a node stay out."""
    registers = shared(state).registers
    found: dict[str, list[Register]] = {name: [] for name in visible_values(registers)}
    for name, register in registers.items():
        element = element_name(name)
        attribute = name if element is None else element.attribute
        if register.value is not None and attribute in found:
            found[attribute].append(register)
    for written in found.values():
        written.sort()
    return found


def _bytes_of(registers: Iterable[Register]) -> int:
    return sum(len(register.value or b"") for register in registers)


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
