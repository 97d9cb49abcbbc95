"""How status, members and sessions look on a terminal."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from clustersession.core.clock import wall_ms_of
from clustersession.core.state import SYSTEM_PREFIX, Register, SessionState, expires_ms
from clustersession.operations.drain import Drain
from clustersession.session.token import log_name

STATUS_LINES = (
    ("cluster", "cluster_name"), ("route", "route"), ("node id", "node"), ("version", "version"),
    ("address", "address"), ("phase", "phase"), ("agent pid", "agent_pid"),
    ("workers", "workers"), ("ack", "ack"), ("carrier of deltas", "carrier"),
    ("multicast", "multicast"), ("seeds", "seeds"),
    ("sessions", "sessions"), ("tombstones", "tombstones"), ("feed head", "feed_head"),
    ("replica bytes", "replica_bytes"), ("disk free bytes", "disk_free_bytes"),
    ("local health", "local_health"),
)
TROUBLES = (
    ("unconfirmed", "writes that too few peers confirmed in time"),
    ("replica_full", "writes not stored for lack of space"),
    ("lost_writes", "writes dropped because the session had ended"),
    ("decode_errors", "attributes that could not be read"),
)
"""What workers count and who is called at night should see."""
MEMBER_COLUMNS = (
    "ROUTE", "ADDRESS", "STATUS", "PHASE", "SERVING", "SINCE", "HEARD", "BEHIND US",
    "WE ARE BEHIND", "CARRIER", "NODE",
)
SESSION_COLUMNS = ("SESSION", "STATE", "CREATED", "LAST ACCESS", "EXPIRES", "ATTRIBUTES", "BYTES")


def status_text(status: dict[str, Any]) -> str:
    """The status, a line each."""
    lines = [
        f"{label:<18} {_plain(status[name])}" for label, name in STATUS_LINES if name in status
    ]
    present = sum(m["status"] in ("alive", "suspect") for m in status["members"])
    lines.append(f"{'members':<18} {present} besides this node")
    work = status.get("work", {})
    counts = {text: work[name] for name, text in TROUBLES if work.get(name)}
    counts.update(status.get("counters", {}))
    lines += [f"{'count':<18} {name}: {n}" for name, n in counts.items()]
    return "\n".join(lines)


def in_order(status: dict[str, Any]) -> list[dict[str, Any]]:
    """The other nodes as they are listed: by status, then by route."""
    return sorted(status["members"], key=lambda m: (m["status"], m["route"]))


def member_rows(status: dict[str, Any]) -> list[dict[str, Any]]:
    """The cluster for programs, this node first; null is what a node cannot say of itself."""
    own = {
        "route": status["route"], "node": status["node"], "address": status.get("address"),
        "status": "self", "phase": status["phase"], "serving": status.get("serving"),
        "since_s": None, "heard_s": None, "uptime_s": _whole(status.get("uptime_s")),
        "clock_skew_ms": None, "reason": "", "carrier": status.get("carrier"),
        "behind_us": None, "we_are_behind": None,
    }
    return [own, *in_order(status)]


def members_text(status: dict[str, Any]) -> str:
    """The cluster in one table, this node first."""
    rows = [
        [
            m["route"], _known(m["address"]), m["status"], m["phase"], _known(m["serving"]),
            _known(m["since_s"], _ago), _known(m["heard_s"], _ago),
            _known(m["behind_us"], _changes), _known(m["we_are_behind"], _changes),
            _known(m["carrier"]), m["node"],
        ]
        for m in member_rows(status)
    ]
    lines = [table(MEMBER_COLUMNS, rows)]
    troubled = (m for m in status["members"] if m["reason"])
    lines += [f"{m['route']} ({m['node']}): {m['reason']}" for m in troubled]
    return "\n".join(lines)


def drain_text(drain: Drain) -> str:
    """How far a drain is, one line."""
    if drain.phase != "draining":
        return f"{drain.route} is {drain.phase} and drains when it is ready"
    if not drain.peers:
        return f"{drain.route} is draining, but there is no other node to take over its users"
    if drain.behind:
        lack = ", ".join(f"{route} lacks {n} changes" for route, n in sorted(drain.behind.items()))
        return f"{drain.route} is draining: {lack}"
    nodes = "node holds" if drain.peers == 1 else "nodes hold"
    return f"{drain.route} is drained: {drain.peers} other {nodes} all it wrote"


def session_row(key: str, state: SessionState, now_ms: int) -> dict[str, Any]:
    """One session in plain values; its id stays out of it."""
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
    }


def session_detail(key: str, state: SessionState, now_ms: int) -> dict[str, Any]:
    """Everything about one session but its values: who wrote what, when, how much."""
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


def sessions_text(rows: Sequence[dict[str, Any]]) -> str:
    """A table of sessions."""
    return table(SESSION_COLUMNS, [[str(value) for value in row.values()] for row in rows])


def detail_text(detail: dict[str, Any]) -> str:
    """One session, a line each, and its attributes as a table."""
    lines = [f"{name:<12} {_plain(detail[name])}" for name in detail if name != "attribute_list"]
    columns = ("ATTRIBUTE", "BYTES", "WRITTEN", "BY NODE", "SEQUENCE")
    rows = [[str(v) for v in attribute.values()] for attribute in detail["attribute_list"]]
    return "\n".join([*lines, "", table(columns, rows)])


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    cells = [list(columns), *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _is_shown(name: str, register: Register) -> bool:
    return register.value is not None and not name.startswith(SYSTEM_PREFIX)


def when(wall_ms: int) -> str:
    """A moment in UTC, for people."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _changes(count: int) -> str:
    return f"{count} changes"


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _ago(seconds: float) -> str:
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.1f} {unit} ago"
    return f"{seconds:.1f} s ago"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {item}" for name, item in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def _known(value: Any, form: Callable[[Any], str] = _plain) -> str:
    return "-" if value is None else form(value)


def import_text(report: dict[str, Any]) -> str:
    """What an import did."""
    counts = (
        ("imported", "new here"), ("updated", "brought up to date"), ("unchanged", "unchanged"),
        ("exchanged", "exchanged or ended here before, left alone"), ("expired", "expired"),
        ("gone", "gone from the old store, ended here"),
    )
    tried = " (dry run, nothing written)" if report["dry_run"] else ""
    lines = [f"{report['read']} read{tried}"]
    lines += [f"  {report[name]:>8} {text}" for name, text in counts if report[name]]
    lines += [f"  {count:>8} refused: {reason}" for reason, count in report["refused"].items()]
    lines += [
        f"  {row['count']:>8} values dropped: {row['key']!r} of type {row['type']}"
        for row in report["dropped"]
    ]
    if report["read"] == 0:
        lines.append("nothing found: check the source and --prefix")
    if report["peers"] is not None:
        lines.append(f"held by {report['peers']} other nodes")
    elif not report["dry_run"]:
        lines.append("no agent answered: other nodes hear of it when one runs")
    return "\n".join(lines)
