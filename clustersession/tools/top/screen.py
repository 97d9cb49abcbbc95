"""Makes the lines that ``clustersession top`` shows: pure, from two looks at a node."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from clustersession.operations.listing import in_order
from clustersession.tools.journal_view import journal_text, journal_word, recovery_line
from clustersession.tools.store_view import (
    AWAY,
    FULL,
    SLOW,
    errors_text,
    reads_text,
    store_line,
    store_word,
)
from clustersession.tools.terminal import members_text, printable

RATES = (
    ("commits", "work", "commits"), ("applied", "", "applied"), ("fetches", "work", "fetches"),
    ("failovers", "work", "failovers"), ("unconfirmed", "work", "unconfirmed"),
    ("lost writes", "work", "lost_writes"),
)
LINES_LEFT_FOR_LOG_MIN = 3
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Style(Enum):
    """Says how a line stands out."""

    PLAIN = "plain"
    TITLE = "title"
    WARNING = "warning"
    ERROR = "error"


Line = tuple[str, Style]


@dataclass(frozen=True, slots=True)
class Look:
    """Is one look at a node. ``at_s`` is monotonic, ``events`` are the newest lines of its log."""

    at_s: float
    status: Mapping[str, Any]
    events: Sequence[Sequence[Any]] = field(default_factory=list)


def rates(before: Look | None, now: Look) -> dict[str, float]:
    """Compute each of RATES per second; 0 where there is nothing to compare with."""
    if before is None or now.at_s <= before.at_s:
        return {name: 0.0 for name, _, _ in RATES}
    passed_s = now.at_s - before.at_s
    return {
        # An agent that was started anew begins at 0.
        name: max(0, _count(now, group, key) - _count(before, group, key)) / passed_s
        for name, group, key in RATES
    }


def screen(
    before: Look | None, now: Look, width: int, height: int, *, paused: bool = False
) -> list[Line]:
    """Lay out at most ``height`` lines, none longer than ``width``."""
    lines = [(_title(now, paused), Style.TITLE), (_numbers(now), Style.PLAIN)]
    per_second = ", ".join(f"{name} {rate:.1f}" for name, rate in rates(before, now).items())
    lines.append((f"per second: {per_second}", Style.PLAIN))
    lines += [*_store(now), *_journal(now), ("", Style.PLAIN)]
    lines += _members(now, max(height - len(lines) - LINES_LEFT_FOR_LOG_MIN, 2))
    room = height - len(lines) - 2
    if room > 0 and now.events:
        lines += [("", Style.PLAIN), ("LOG", Style.TITLE)]
        lines += [_event(event) for event in now.events[-room:]]
    return [(printable(text)[:width], style) for text, style in lines[:height]]


def _title(now: Look, paused: bool) -> str:
    status = now.status
    members = sum(m["status"] in ("alive", "suspect") for m in status["members"])
    return (
        f"clustersession {status['cluster_name']}  {status['route']}  {status['phase']}  "
        f"{members + 1} node{'' if members == 0 else 's'}  {time.strftime('%H:%M:%S')}  "
        f"{'PAUSED, p: go on' if paused else 'p: pause'}, q: quit"
    )


def _numbers(now: Look) -> str:
    status = now.status
    space = bytes_text(status["replica_bytes"])
    if status.get("map_bytes"):
        space += f" of {bytes_text(status['map_bytes'])}"
    return (
        f"sessions {status['sessions']}, ended {status['tombstones']}, replica {space}, "
        f"workers {len(status.get('workers', []))}, carrier {status.get('carrier', '-')}"
    )


def _journal(now: Look) -> list[Line]:
    """Return what is wrong with the journal, or waits in it."""
    lines: list[Line] = []
    if journal_word(now.status) == "away":
        lines.append((f"journal {journal_text(now.status)}", Style.ERROR))
    if waits := recovery_line(now.status):
        lines.append((f"recovery: {waits}", Style.WARNING))
    return lines


def _store(now: Look) -> list[Line]:
    store = now.status.get("store")
    if store is None:
        return []
    styles = {AWAY: Style.ERROR, FULL: Style.ERROR, SLOW: Style.WARNING}
    style = styles.get(store_word(store), Style.PLAIN)
    if "evicted" not in store:
        return [(store_line(store), style)]
    more = (
        f"store: {reads_text(store, now.status.get('work', {}))}, {store['evicted']} evictions here"
        f", {store['dropped']} there; errors {errors_text(store) or 'none'}"
    )
    return [(store_line(store), style), (more, Style.PLAIN)]


def _members(now: Look, rows_max: int) -> list[Line]:
    status = {name: value for name, value in now.status.items() if name != "store"}
    members = [{"status": "self"}, *in_order(status)]
    header, *rows = members_text(status).split("\n")
    reasons = [(text, Style.PLAIN) for text in rows[len(members):]]
    # This node first, then those in trouble: a small terminal must not hide them.
    styled = [
        (row, {"suspect": Style.WARNING, "dead": Style.ERROR}.get(member["status"], Style.PLAIN))
        for row, member in zip(rows[: len(members)], members, strict=True)
    ]
    order = {Style.ERROR: 0, Style.WARNING: 1}
    styled[1:] = sorted(styled[1:], key=lambda line: order.get(line[1], 2))
    styled += reasons
    hidden = len(styled) - (rows_max - 1)
    if hidden > 0:
        hidden += 1
        styled = [*styled[: max(rows_max - 2, 1)], (f"and {hidden} more", Style.PLAIN)]
    return [(header, Style.TITLE), *styled]


def _event(event: Sequence[Any]) -> Line:
    wall_ms, level, text = event[:3]
    style = {"warning": Style.WARNING, "error": Style.ERROR}.get(str(level), Style.PLAIN)
    at = time.strftime("%H:%M:%S", time.localtime(wall_ms / 1000))
    return f"{at} {level:<7} {text}", style


def bytes_text(size: float) -> str:
    """Write a size for people."""
    unit = _UNITS[0]
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _count(look: Look, group: str, key: str) -> int:
    counts = look.status.get(group, {}) if group else look.status
    return int(counts.get(key, 0))
