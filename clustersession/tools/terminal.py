"""Writes status, members, sessions and a drain as text for a terminal."""

from collections.abc import Callable, Sequence
from typing import Any

from clustersession.operations.drain import Drain
from clustersession.operations.listing import member_rows
from clustersession.tools.journal_view import journal_text, recovery_line
from clustersession.tools.store_view import span, store_advice, store_facts, store_line

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
    ("unconfirmed", "writes that were not confirmed in time"),
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
SESSION_COLUMNS = (
    "SESSION", "STATE", "CREATED", "LAST ACCESS", "EXPIRES", "ATTRIBUTES", "BYTES", "LABEL",
)


def printable(text: str) -> str:
    """Replace what a terminal would obey: names come from applications and from other hosts."""
    return "".join(c if c.isprintable() else "?" for c in text)


def status_text(status: dict[str, Any]) -> str:
    """Write the status, a line for each fact."""
    lines = [
        f"{label:<18} {_plain(status[name])}" for label, name in STATUS_LINES if name in status
    ]
    if waiting := status.get("workers_of_another_store"):
        lines.append(
            f"{'store was changed':<18} processes {_plain(waiting)} have another one; the agent "
            "leaves when the others have gone"
        )
    if "store" in status:
        facts = store_facts(status["store"], status.get("work", {}))
        lines += [f"{label:<18} {value}" for label, value in facts]
    about = (("journal", journal_text(status)), ("recovery", recovery_line(status)))
    lines += [f"{label:<18} {text}" for label, text in about if text]
    present = sum(m["status"] in ("alive", "suspect") for m in status["members"])
    lines.append(f"{'members':<18} {present} besides this node")
    work = status.get("work", {})
    counts = {text: work[name] for name, text in TROUBLES if work.get(name)}
    counts.update(status.get("counters", {}))
    lines += [f"{'count':<18} {name}: {n}" for name, n in counts.items()]
    return "\n".join(map(printable, lines))


def members_text(status: dict[str, Any]) -> str:
    """Write the cluster as one table, this node first, those in trouble with why, and the store."""
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
    if "store" in status:
        store = status["store"]
        lines += [printable(text) for text in (store_line(store), store_advice(store)) if text]
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
    return table(SESSION_COLUMNS, [[_known(value, str) for value in row.values()] for row in rows])


def detail_text(detail: dict[str, Any]) -> str:
    """Write one session, a line for each fact, and its attributes as a table."""
    lines = [f"{name:<12} {_known(detail[name])}" for name in detail if name != "attribute_list"]
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
    return f"{span(seconds)} ago"


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
