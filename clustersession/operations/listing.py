"""Lists members and sessions as rows of plain values, for people and for programs."""

from typing import Any

from clustersession.core.clock import wall_ms_of
from clustersession.core.ids import log_name
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import SYSTEM_PREFIX, Register, SessionState, expires_ms
from clustersession.replica.replica import Replica
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
    shown = {n: r for n, r in state.registers.items() if _is_shown(n, r)}
    live = "live" if expires_ms(state) >= now_ms else "expired"
    return {
        "session": log_name(key),
        "state": f"ended ({state.ended.reason})" if state.ended is not None else live,
        "created": when(state.created_ms),
        "last_access": when(state.accessed_ms),
        "expires": when(expires_ms(state)),
        "attributes": len(shown),
        "bytes": sum(len(r.value or b"") for r in shown.values()),
        "label": label_of(state),
    }


def session_detail(key: str, state: SessionState, now_ms: int) -> dict[str, Any]:
    """Describe all of one session but its values: who wrote what, when, how much."""
    attributes = [
        {
            "name": name,
            "bytes": len(register.value or b""),
            "written": when(wall_ms_of(register.time)),
            "by_node": register.node.hex()[:8],
            "sequence": register.seq,
        }
        for name, register in sorted(state.registers.items())
        if _is_shown(name, register)
    ]
    versions = {node.hex()[:8]: seq for node, seq in state.versions.items()}
    return {**session_row(key, state, now_ms), "versions": versions, "attribute_list": attributes}


def when(wall_ms: int) -> str:
    """Write a moment in UTC, for people."""
    return utc(wall_ms).strftime("%Y-%m-%d %H:%M:%S")


def _is_shown(name: str, register: Register) -> bool:
    return register.value is not None and not name.startswith(SYSTEM_PREFIX)


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
