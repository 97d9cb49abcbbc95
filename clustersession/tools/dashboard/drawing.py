"""Computes where nodes and links stand in the picture of the cluster, and each link's lag.

The template ``live/picture.html`` makes SVG of it. A status is told by a shape and a word; colour
only repeats it.
"""

import math
from functools import partial
from typing import Any, NamedTuple

from clustersession.tools.store_view import AWAY, FULL, SLOW, store_place, store_word

NODES_DRAWN_MAX = 24
NAME_SHOWN_MAX = 16
_BOX_WIDTH, _BOX_HEIGHT = 168, 78

Point = tuple[float, float]


class DrawnNode(NamedTuple):
    """Is a node's box: its upper left corner, its size, its name and two lines."""

    status: str
    own: bool
    x: int
    y: int
    name: str
    first: str
    second: str
    width: int = _BOX_WIDTH
    height: int = _BOX_HEIGHT


class DrawnLink(NamedTuple):
    """Is a line between two boxes with a label in a pill, which begins at ``left`` and ``top``."""

    kind: str
    x1: int
    y1: int
    x2: int
    y2: int
    left: int
    top: int
    box: int
    x: int
    base: int
    label: str


class Picture(NamedTuple):
    """Is one drawing. kind: "wide" or "upright", the class by which the style shows one of them."""

    kind: str
    width: int
    height: int
    label: str
    links: list[DrawnLink]
    nodes: list[DrawnNode]
    left_out: int


def draw(
    own: dict[str, Any], members: list[dict[str, Any]], store: dict[str, Any] | None = None
) -> tuple[Picture, Picture]:
    """Draw the cluster for wide screens and for narrow ones. ``own`` looks like a member.

    Without a ``store`` this node is in the middle, with one it stands among the others.
    """
    picture = _picture if store is None else partial(_picture_with_store, store)
    return picture(own, members, upright=False), picture(own, members, upright=True)


def status_word(member: dict[str, Any]) -> str:
    """Say in one word how a member is: its status, or its phase while it is not ready."""
    if member["status"] == "alive" and member["phase"] != "ready":
        return str(member["phase"])
    return str(member["status"])


def _picture(own: dict[str, Any], members: list[dict[str, Any]], *, upright: bool) -> Picture:
    shown = members[:NODES_DRAWN_MAX]
    points, width, height, middle = (_upright if upright else _around)(len(shown))
    placed = list(zip(points, shown, strict=True))
    return Picture(
        "upright" if upright else "wide", width, height, _label(own, members),
        [_link(middle, point, member) for point, member in placed],
        [*(_node(point, member, False) for point, member in placed), _node(middle, own, True)],
        len(members) - len(shown),
    )


def _picture_with_store(
    store: dict[str, Any], own: dict[str, Any], members: list[dict[str, Any]], *, upright: bool
) -> Picture:
    shown = [own, *members[: NODES_DRAWN_MAX - 1]]
    points, width, height, middle = (_upright if upright else _around)(len(shown))
    placed = list(zip(points, shown, strict=True))
    word = store_word(store)
    status = {AWAY: "dead", FULL: "suspect", SLOW: "suspect"}.get(word, "alive")
    links = [
        _line(middle, point, *(_own_way(store) if member is own else _way(store, member)))
        for point, member in placed
    ]
    return Picture(
        "upright" if upright else "wide", width, height,
        f"The store is {word}. {_label(own, members)}", links,
        [
            *(_node(point, member, member is own) for point, member in placed),
            _box(status, False, middle, store_place(store), f"store · {word}", ""),
        ],
        1 + len(members) - len(shown),
    )


def _own_way(store: dict[str, Any]) -> tuple[str, str]:
    """Tell kind and label of the link that we know by ourselves."""
    waiting = f" ↑{_short(store['behind'])}" if store["behind"] else ""
    match store_word(store):
        case "away":
            return "dead", f"away{waiting}"
        case "slow" | "full" as word:
            return "late", f"{word}{waiting}"
    return ("late", waiting.strip()) if waiting else ("alive", "reached")


def _way(store: dict[str, Any], member: dict[str, Any]) -> tuple[str, str]:
    """Tell what the beats say that another node leaves in the store, as far as we can read them."""
    if store_word(store) == AWAY:
        return "left", "not known"
    if member["status"] == "alive":
        return "alive", "reached"
    return member["status"], "silent" if member["status"] == "suspect" else "no link"


def _around(count: int) -> tuple[list[Point], int, int, Point]:
    """Place the nodes on an ellipse around the middle; more nodes, a larger one."""
    # A box must not touch its neighbour on the ellipse, nor the one in the middle.
    radius_x = max(310.0, count * 36.0)
    radius_y = 0.0 if count <= 2 else max(140.0, count * 26.0)
    width = round(2 * radius_x + _BOX_WIDTH + 20)
    height = round(2 * radius_y + _BOX_HEIGHT + (60 if radius_y == 0 else 24))
    middle = (width / 2, height / 2)
    start = math.pi if count <= 2 else -math.pi / 2
    angles = [start + 2 * math.pi * number / max(count, 1) for number in range(count)]
    return (
        [
            (middle[0] + radius_x * math.cos(a), middle[1] + radius_y * math.sin(a))
            for a in angles
        ],
        width, height, middle,
    )


def _upright(count: int) -> tuple[list[Point], int, int, Point]:
    """Place this node on top, the others below it in two columns."""
    rows = (count + 1) // 2
    places = [
        (98.0 + 184.0 * (number % 2), 195.0 + 130.0 * (number // 2)) for number in range(count)
    ]
    if count % 2:
        places[-1] = (190.0, places[-1][1])
    return places, 380, 90 + 130 * rows + 14, (190.0, 48.0)


def _link(start: Point, end: Point, member: dict[str, Any]) -> DrawnLink:
    present = member["status"] in ("alive", "suspect")
    late = present and bool(member["behind_us"] or member["we_are_behind"])
    label = _lag(member["behind_us"], member["we_are_behind"]) if present else "no link"
    return _line(start, end, "late" if late else member["status"], label)


def _line(start: Point, end: Point, kind: str, label: str) -> DrawnLink:
    x, y = ((a + b) / 2 for a, b in zip(start, end, strict=True))
    box = 13 + 7.4 * len(label)
    return DrawnLink(
        kind, round(start[0]), round(start[1]), round(end[0]), round(end[1]), round(x - box / 2),
        round(y - 11), round(box), round(x), round(y + 4.5), label,
    )


def _lag(behind_us: int, we_are_behind: int) -> str:
    lags = (("↑", behind_us), ("↓", we_are_behind))
    return " ".join(f"{arrow}{_short(lag)}" for arrow, lag in lags if lag) or "in step"


def _node(point: Point, member: dict[str, Any], own: bool) -> DrawnNode:
    sessions = member.get("last_written")
    return _box(
        member["status"], own, point, member["route"],
        status_word(member) + (" · this node" if own else ""),
        "" if sessions is None else f"{sessions:,} session{'' if sessions == 1 else 's'}",
    )


def _box(
    status: str, own: bool, point: Point, name: str, first: str, second: str
) -> DrawnNode:
    return DrawnNode(
        status, own, round(point[0] - _BOX_WIDTH / 2), round(point[1] - _BOX_HEIGHT / 2),
        _clip(name), first, second,
    )


def _label(own: dict[str, Any], members: list[dict[str, Any]]) -> str:
    others = ", ".join(f"{m['route']} is {status_word(m)}" for m in members[:NODES_DRAWN_MAX])
    return f"This node, {own['route']}, is {status_word(own)}" + (f"; {others}" if others else "")


def _clip(name: str) -> str:
    return name if len(name) <= NAME_SHOWN_MAX else f"{name[: NAME_SHOWN_MAX - 1]}…"


def _short(number: int) -> str:
    return f"{number:,}" if number < 10_000 else f"{number // 1000:,}k"
