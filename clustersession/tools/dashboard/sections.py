"""The live parts of the overview: each is made anew for every look, and sent when it differs."""

import shlex
from datetime import UTC, datetime
from typing import Any

from clustersession.operations.observing import Snapshot
from clustersession.tools.dashboard.drawing import draw, shape, status_word
from clustersession.tools.dashboard.html import Html, fill, join

EVENTS_SHOWN = 40
COMMANDS_SHOWN_MAX = 8
MEMBERS_SHOWN_MAX = 200
_COLUMNS = (
    "Node", "Status", "Phase", "Serves", "Sessions", "Behind us", "We are behind", "Carrier",
    "Since", "Address",
)


def sections(snapshot: Snapshot) -> dict[str, Html]:
    """Every live part by the id of the element that it fills."""
    if not snapshot.status:
        trouble = fill(
            '<p class="banner bad" role="alert">{why}</p>',
            why=snapshot.trouble or "The node could not be looked at.",
        )
        return {
            "summary": trouble, "figures": Html(""), "picture": Html(""), "nodes": Html(""),
            "timeline": Html(""), "others": Html(""), "clock": _clock(snapshot.at_ms),
        }
    own, members = own_row(snapshot), member_rows(snapshot)
    return {
        "summary": _summary(snapshot, members),
        "figures": _figures(snapshot, members),
        "picture": join([
            draw(own, members, upright=False), draw(own, members, upright=True)
        ]),
        "nodes": _table(own, members),
        "timeline": _timeline(snapshot.events),
        "others": _others(members),
        "clock": _clock(snapshot.at_ms),
    }


def own_row(snapshot: Snapshot) -> dict[str, Any]:
    """This node in the form of a member."""
    status = snapshot.status
    absent = "agent_pid" not in status
    return {
        "route": status["route"], "node": status["node"], "address": status.get("address", ""),
        "status": "dead" if absent else "alive", "phase": status["phase"],
        "serving": status.get("serving", False), "behind_us": 0, "we_are_behind": 0,
        "carrier": status.get("carrier", ""), "reason": "no agent" if absent else "",
        "last_written": snapshot.last_written.get(status["node"], 0),
    }


def member_rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The other nodes, those that are there first, in an order that does not change."""
    rows = [
        {**member, "last_written": snapshot.last_written.get(member["node"], 0)}
        for member in snapshot.status["members"]
    ]
    present = {m["route"] for m in rows if m["status"] in ("alive", "suspect")}
    # What has come back under another node id is not shown twice.
    rows = [m for m in rows if m["status"] in ("alive", "suspect") or m["route"] not in present]
    return sorted(rows, key=lambda m: (m["route"], m["node"]))[:MEMBERS_SHOWN_MAX]


def _summary(snapshot: Snapshot, members: list[dict[str, Any]]) -> Html:
    if snapshot.trouble:
        return fill('<p class="banner bad" role="status">{text}</p>', text=snapshot.trouble)
    dead = [m["route"] for m in members if m["status"] == "dead"]
    suspect = [m["route"] for m in members if m["status"] == "suspect"]
    late = [
        m["route"] for m in members
        if m["status"] == "alive" and (m["behind_us"] or m["we_are_behind"])
    ]
    phase = snapshot.status["phase"]
    if dead:
        kind, text = "bad", f"{_names(dead)} lost. The others serve its users."
    elif suspect:
        kind, text = "warn", f"{_names(suspect)} not heard for a while; being probed."
    elif phase != "ready":
        kind, text = "warn", f"This node is {phase}."
    elif late:
        kind, text = "warn", f"Changes are on their way: {_names(late)} not in step."
    elif not any(m["status"] == "alive" for m in members):
        kind, text = "warn", "This node is alone: nothing it writes has a copy elsewhere."
    else:
        kind, text = "good", "All nodes are there and in step."
    return fill('<p class="banner {kind}" role="status">{text}</p>', kind=kind, text=text)


def _names(routes: list[str]) -> str:
    shown = ", ".join(routes[:5]) + (f" and {len(routes) - 5} more" if len(routes) > 5 else "")
    return f"{shown} {'is' if len(routes) == 1 else 'are'}"


def _figures(snapshot: Snapshot, members: list[dict[str, Any]]) -> Html:
    status = snapshot.status
    present = sum(m["status"] in ("alive", "suspect") for m in members) + 1
    workers = status.get("workers")
    rows = [
        ("Nodes", f"{present}", f"of {len(members) + 1} known"),
        ("Live sessions", f"{status['sessions']:,}",
         f"{status['tombstones']:,} ended, kept for a while"),
        ("Workers here", "-" if workers is None else f"{len(workers)}",
         ", ".join(map(str, (workers or [])[:6])) or "none attached"),
        ("Phase", status["phase"], f"ack {status.get('ack', '-')}"),
        ("Carrier", status.get("carrier", "-"), f"multicast {status.get('multicast', '-')}"),
        ("Replica", _size(status["replica_bytes"]), f"{status['feed_head']:,} changes written"),
    ]
    return join(
        fill("<div><dt>{name}</dt><dd>{value}</dd><dd class=note>{note}</dd></div>",
             name=name, value=value, note=note)
        for name, value, note in rows
    )


def _table(own: dict[str, Any], members: list[dict[str, Any]]) -> Html:
    head = join(fill("<th scope=col>{name}</th>", name=name) for name in _COLUMNS)
    rows = join([_row(own, True), *(_row(member, False) for member in members)])
    return fill("<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>",
                head=head, rows=rows)


def _row(member: dict[str, Any], own: bool) -> Html:
    status = fill(
        '<span class="status {kind}"><svg viewBox="-8 -8 16 16" aria-hidden="true">{shape}</svg>'
        "{word}</span>",
        kind=member["status"], shape=shape(member["status"]),
        word="this node" if own else member["status"],
    )
    behind = ("-", "-") if own else (
        f"{member['behind_us']:,}", f"{member['we_are_behind']:,}"
    )
    cells = (
        member["route"], status, member["phase"], "yes" if member["serving"] else "no",
        f"{member['last_written']:,}", *behind, member["carrier"],
        "" if own else _ago(member["since_s"]), member["address"],
    )
    row = join(
        fill('<td data-label="{name}">{cell}</td>', name=name, cell=cell)
        for name, cell in zip(_COLUMNS, cells, strict=True)
    )
    why = member["reason"]
    return fill("<tr>{row}</tr>{why}", row=row, why=fill(
        '<tr class="why"><td colspan="{n}">{route}: {why}</td></tr>',
        n=len(_COLUMNS), route=member["route"], why=why,
    ) if why and not own else "")


def _timeline(events: list[list[Any]]) -> Html:
    if not events:
        return Html('<p class="note">Nothing since the agent started.</p>')
    return fill("<ol>{items}</ol>", items=join(
        fill(
            '<li class="{level}"><time datetime="{iso}">{clock}</time> '
            "<span class=level>{level}</span> <span>{text}</span></li>",
            iso=_moment(at_ms).isoformat(timespec="milliseconds"),
            clock=_moment(at_ms).strftime("%H:%M:%S"), level=level, text=line,
        )
        for at_ms, level, line in reversed(events[-EVENTS_SHOWN:])
    ))


def _others(members: list[dict[str, Any]]) -> Html:
    routes = [m["route"] for m in members if m["status"] == "alive" and m["phase"] == "ready"]
    return fill(
        "<p>Another node is drained on its own host:</p>{commands}",
        commands=join(
            fill("<pre><code>{line}</code></pre>",
                 line=f"clustersession --route {shlex.quote(route)} drain")
            for route in routes[:COMMANDS_SHOWN_MAX]
        ),
    ) if routes else Html("")


def _clock(at_ms: int) -> Html:
    return fill("{now} UTC", now=_moment(at_ms).strftime("%Y-%m-%d %H:%M:%S"))


def _moment(wall_ms: int) -> datetime:
    return datetime.fromtimestamp(wall_ms / 1000, UTC)


def _ago(seconds: float) -> str:
    # Coarse, so that a page where nothing happens is not sent anew each second.
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds // length_s:.0f} {unit}"
    return f"{seconds // 10 * 10:.0f} s" if seconds >= 10 else "now"


def _size(size_bytes: int) -> str:
    for unit, unit_bytes in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:.1f} {unit}"
    return f"{size_bytes} bytes"


__all__ = ["member_rows", "own_row", "sections", "status_word"]
