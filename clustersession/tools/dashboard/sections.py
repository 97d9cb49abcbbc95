"""Makes the live parts of the overview anew for every look; what differs is sent."""

import shlex
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from clustersession.operations.observing import Snapshot
from clustersession.session.lifetimes import utc
from clustersession.tools.dashboard.drawing import draw
from clustersession.tools.dashboard.rendering import render
from clustersession.tools.journal_view import journal_text, journal_word, recovery_line
from clustersession.tools.store_view import (
    AWAY,
    FULL,
    SLOW,
    errors_text,
    reads_text,
    store_advice,
    store_place,
    store_word,
)

PARTS = ("summary", "figures", "picture", "nodes", "timeline", "others", "clock")
EVENTS_SHOWN = 40
COMMANDS_SHOWN_MAX = 8
MEMBERS_SHOWN_MAX = 200
COLUMNS = (
    "Node", "Status", "Phase", "Serves", "Sessions", "Behind us", "We are behind", "Carrier",
    "Since", "Address",
)


def sections(snapshot: Snapshot) -> dict[str, Markup]:
    """Fill every live part, by the id of the element that it stands in."""
    parts = dict.fromkeys(PARTS, Markup())
    parts["clock"] = escape(f"{utc(snapshot.at_ms):%Y-%m-%d %H:%M:%S} UTC")
    if not snapshot.status:
        why = snapshot.trouble or "The node could not be looked at."
        parts["summary"] = render("live/summary.html", kind="bad", text=why, looked=False)
        return parts
    own, members = own_row(snapshot), member_rows(snapshot)
    kind, text = _summary(snapshot, members)
    store = snapshot.status.get("store")
    return {
        **parts,
        "summary": render("live/summary.html", kind=kind, text=text, looked=True),
        "figures": render("live/figures.html", figures=_figures(snapshot, members)),
        "picture": render(
            "live/picture.html", pictures=draw(own, members, store), has_store=store is not None
        ),
        "nodes": render("live/nodes.html", columns=COLUMNS, rows=_rows(own, members)),
        "timeline": render("live/timeline.html", events=_events(snapshot.events)),
        "others": render("live/others.html", commands=_drain_commands(members)),
    }


def own_row(snapshot: Snapshot) -> dict[str, Any]:
    """Describe this node in the form of a member."""
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
    """List the other nodes in an order that does not change, each route once if it is there."""
    rows = [
        {**member, "last_written": snapshot.last_written.get(member["node"], 0)}
        for member in snapshot.status["members"]
    ]
    present = {m["route"] for m in rows if m["status"] in ("alive", "suspect")}
    # What has come back under another node id is not shown twice.
    rows = [m for m in rows if m["status"] in ("alive", "suspect") or m["route"] not in present]
    return sorted(rows, key=lambda m: (m["route"], m["node"]))[:MEMBERS_SHOWN_MAX]


def _summary(snapshot: Snapshot, members: list[dict[str, Any]]) -> tuple[str, str]:
    """Choose the banner's kind and what it says: the worst that is true."""
    if snapshot.trouble:
        return "bad", snapshot.trouble
    dead = [m["route"] for m in members if m["status"] == "dead"]
    suspect = [m["route"] for m in members if m["status"] == "suspect"]
    late = [
        m["route"] for m in members
        if m["status"] == "alive" and (m["behind_us"] or m["we_are_behind"])
    ]
    phase, store = snapshot.status["phase"], snapshot.status.get("store", {})
    if store and store_word(store) == AWAY:
        why = store["reason"] or "nothing was heard yet"
        return "bad", f"The store is away: {why}. {store_advice(store)}"
    if store.get("drops"):
        return "bad", (
            "The store is full and drops sessions: users are logged out. Raise its maxmemory, and "
            "set noeviction."
        )
    if store and store_word(store) == FULL:
        return "bad", f"The store is full. {store_advice(store)}"
    if dead:
        return "bad", f"{_names(dead)} lost. The others serve its users."
    if suspect:
        return "warn", f"{_names(suspect)} not heard for a while; being probed."
    if store and store_word(store) == SLOW:
        return "warn", "The store is slow: requests that ask it are answered late."
    if phase != "ready":
        return "warn", f"This node is {phase}."
    if late:
        return "warn", f"Changes are on their way: {_names(late)} not in step."
    if not store and not any(m["status"] == "alive" for m in members):
        return "warn", "This node is alone: nothing it writes has a copy elsewhere."
    return "good", "All nodes are there and in step."


def _names(routes: list[str]) -> str:
    shown = ", ".join(routes[:5]) + (f" and {len(routes) - 5} more" if len(routes) > 5 else "")
    return f"{shown} {'is' if len(routes) == 1 else 'are'}"


def _figures(snapshot: Snapshot, members: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """List the large numbers: name, value and a note below it."""
    status = snapshot.status
    present = sum(m["status"] in ("alive", "suspect") for m in members) + 1
    workers = status.get("workers")
    store = status.get("store")
    way = [("Carrier", status.get("carrier", "-"), f"multicast {status.get('multicast', '-')}")]
    return [
        ("Nodes", f"{present}", f"of {len(members) + 1} known"),
        ("Live sessions", f"{status['sessions']:,}",
         f"{status['tombstones']:,} ended, kept for a while"),
        ("Workers here", "-" if workers is None else f"{len(workers)}",
         ", ".join(map(str, (workers or [])[:6])) or "none attached"),
        ("Phase", status["phase"], f"ack {status.get('ack', '-')}"),
        *(_store_figures(store, status.get("work", {})) if store else way),
        ("Replica", _size(status["replica_bytes"]), f"{status['feed_head']:,} changes written"),
        *_journal_figures(status),
    ]


def _journal_figures(status: dict[str, Any]) -> list[tuple[str, str, str]]:
    word, waits = journal_word(status), recovery_line(status)
    figures = [("Journal", word, journal_text(status))] if word not in ("", "none") else []
    return [*figures, ("Recovery", "waits", waits)] if waits else figures


def _store_figures(store: dict[str, Any], work: dict[str, int]) -> list[tuple[str, str, str]]:
    word, took_ms = store_word(store), store["round_trip_ms"]
    since, oldest_s = _ago(store["since_s"]), store.get("oldest_s")
    figures = [
        ("Store", word, f"{store_place(store)}, "
         + (f"{since}: {store['reason']}" if word == AWAY else f"{took_ms} ms, {since}")),
        ("Waiting for it", f"{store['behind']:,}",
         "changes" if oldest_s is None else f"to be told, the oldest since {_ago(oldest_s)}"),
    ]
    if "evicted" in store:
        figures += [
            ("Misses", f"{work.get('fetches', 0):,}", reads_text(store, work)),
            ("Evictions", f"{store['evicted']:,}", f"{store['dropped']:,} keys dropped there"),
            ("Store errors", f"{sum(store['errors'].values()):,}", errors_text(store) or "none"),
        ]
    return figures


class _NodeRow(NamedTuple):
    """Is a row of the table of nodes. cells: by the column's name."""

    route: str
    status: str
    reason: str
    cells: tuple[tuple[str, str], ...]


def _rows(own: dict[str, Any], members: list[dict[str, Any]]) -> list[_NodeRow]:
    """Make the table's rows, this node first; it is not behind itself and needs no reason."""
    first = _row(own, "this node", ("-", "-"), "")._replace(reason="")
    return [first, *(
        _row(member, member["status"], (f"{member['behind_us']:,}", f"{member['we_are_behind']:,}"),
             _ago(member["since_s"]))
        for member in members
    )]


def _row(member: dict[str, Any], word: str, behind: tuple[str, str], since: str) -> _NodeRow:
    cells = (
        member["route"], word, member["phase"], "yes" if member["serving"] else "no",
        f"{member['last_written']:,}", *behind, member["carrier"], since, member["address"],
    )
    return _NodeRow(
        member["route"], member["status"], member["reason"],
        tuple(zip(COLUMNS, cells, strict=True)),
    )


class _EventLine(NamedTuple):
    """Is a line of the agent's log."""

    level: str
    iso: str
    clock: str
    text: str


def _events(events: list[list[Any]]) -> list[_EventLine]:
    """List the newest lines of the agent's log, the newest first."""
    return [
        _EventLine(
            level, utc(at_ms).isoformat(timespec="milliseconds"),
            f"{utc(at_ms):%H:%M:%S}", text,
        )
        for at_ms, level, text in reversed(events[-EVENTS_SHOWN:])
    ]


def _drain_commands(members: list[dict[str, Any]]) -> list[str]:
    """List what is typed on each other node's host to drain it."""
    routes = [m["route"] for m in members if m["status"] == "alive" and m["phase"] == "ready"]
    return [
        f"clustersession --route {shlex.quote(route)} drain"
        for route in routes[:COMMANDS_SHOWN_MAX]
    ]


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
