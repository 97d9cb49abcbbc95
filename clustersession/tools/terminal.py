"""Writes status, members, sessions and a drain as text for a terminal."""

from collections.abc import Callable, Sequence
from typing import Any

from clustersession.operations.drain import Drain
from clustersession.operations.listing import member_rows

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
    ("refused_new_sessions", "sessions not begun because too many others were"),
    ("lost_writes", "writes dropped because the session had ended"),
    ("decode_errors", "attributes that could not be read"),
)
"""What workers count and who is called at night should see."""
MEMBER_COLUMNS = (
    "ROUTE", "ADDRESS", "STATUS", "PHASE", "SERVING", "SINCE", "HEARD", "BEHIND US",
    "WE ARE BEHIND", "CARRIER", "NODE",
)
SESSION_COLUMNS = ("SESSION", "STATE", "CREATED", "LAST ACCESS", "EXPIRES", "ATTRIBUTES", "BYTES")


def printable(text: str) -> str:
    """Replace what a terminal would obey: names come from applications and from other hosts."""
    return "".join(c if c.isprintable() else "?" for c in text)


def status_text(status: dict[str, Any]) -> str:
    """Write the status, a line for each fact."""
    lines = [
        f"{label:<18} {_plain(status[name])}" for label, name in STATUS_LINES if name in status
    ]
    present = sum(m["status"] in ("alive", "suspect") for m in status["members"])
    lines.append(f"{'members':<18} {present} besides this node")
    work = status.get("work", {})
    counts = {text: work[name] for name, text in TROUBLES if work.get(name)}
    counts.update(status.get("counters", {}))
    lines += [f"{'count':<18} {name}: {n}" for name, n in counts.items()]
    return "\n".join(map(printable, lines))


def members_text(status: dict[str, Any]) -> str:
    """Write the cluster as one table, this node first."""
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
    lines += [printable(f"{m['route']} ({m['node']}): {m['reason']}") for m in troubled]
    return "\n".join(lines)


def drain_text(drain: Drain) -> str:
    """Write how far a drain is, in one line."""
    if drain.phase != "draining":
        return f"{drain.route} is {drain.phase} and drains when it is ready"
    if not drain.peers:
        return f"{drain.route} is draining, but there is no other node to take over its users"
    if drain.behind:
        lack = ", ".join(f"{route} lacks {n} changes" for route, n in sorted(drain.behind.items()))
        return f"{drain.route} is draining: {lack}"
    nodes = "node holds" if drain.peers == 1 else "nodes hold"
    return f"{drain.route} is drained: {drain.peers} other {nodes} all it wrote"


def sessions_text(rows: Sequence[dict[str, Any]]) -> str:
    """Write a table of sessions."""
    return table(SESSION_COLUMNS, [[str(value) for value in row.values()] for row in rows])


def detail_text(detail: dict[str, Any]) -> str:
    """Write one session, a line for each fact, and its attributes as a table."""
    lines = [f"{name:<12} {_plain(detail[name])}" for name in detail if name != "attribute_list"]
    columns = ("ATTRIBUTE", "BYTES", "WRITTEN", "BY NODE", "SEQUENCE")
    rows = [[str(v) for v in attribute.values()] for attribute in detail["attribute_list"]]
    return "\n".join([*map(printable, lines), "", table(columns, rows)])


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table; columns are as wide as their widest cell."""
    cells = [list(columns), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _changes(count: int) -> str:
    return f"{count} changes"


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
