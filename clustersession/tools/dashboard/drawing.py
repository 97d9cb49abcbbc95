"""The cluster as a picture: this node, its peers, and how far each link is behind. Inline SVG.

A status is told by a shape and a word; colour only repeats it.
"""

import math
from typing import Any

from clustersession.tools.dashboard.html import Html, fill, join

NODES_DRAWN_MAX = 24
NAME_SHOWN_MAX = 16
_BOX_WIDTH, _BOX_HEIGHT = 168, 78

_SHAPES = {
    "alive": '<circle class="shape" cx="0" cy="0" r="6"/>',
    "suspect": '<path class="shape" d="M0-7 7 6H-7z"/>',
    "dead": '<path class="shape cross" d="M-5-5 5 5M5-5-5 5"/>',
    "left": '<rect class="shape" x="-5.5" y="-5.5" width="11" height="11"/>',
}


def status_word(member: dict[str, Any]) -> str:
    """One word for how a member is: its status, or its phase while it is well but not ready."""
    if member["status"] == "alive" and member["phase"] != "ready":
        return str(member["phase"])
    return str(member["status"])


def shape(status: str) -> Html:
    """The small picture of a status, around the origin."""
    return Html(_SHAPES.get(status, _SHAPES["left"]))


def draw(own: dict[str, Any], members: list[dict[str, Any]], *, upright: bool) -> Html:
    """The picture; ``upright`` for narrow screens. ``own`` looks like a member."""
    shown = members[:NODES_DRAWN_MAX]
    places, width, height, middle = (
        _upright(len(shown)) if upright else _around(len(shown))
    )
    links = [
        _link(middle, place, member) for place, member in zip(places, shown, strict=True)
    ]
    nodes = [_node(place, member, False) for place, member in zip(places, shown, strict=True)]
    left_out = len(members) - len(shown)
    return fill(
        '<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="{label}">{links}{nodes}{own}{more}</svg>',
        kind="upright" if upright else "wide", width=width, height=height,
        label=_label(own, members), links=join(links), nodes=join(nodes),
        own=_node(middle, own, True),
        more=fill(
            '<text class="note" x="{x}" y="{y}">and {n} more, in the table</text>',
            x=width / 2, y=height - 8, n=left_out,
        ) if left_out > 0 else "",
    )


Place = tuple[float, float]


def _around(count: int) -> tuple[list[Place], int, int, Place]:
    """On an ellipse around the middle; more nodes, a larger one."""
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


def _upright(count: int) -> tuple[list[Place], int, int, Place]:
    """This node on top, the others below it in two columns."""
    rows = (count + 1) // 2
    places = [
        (98.0 + 184.0 * (number % 2), 195.0 + 130.0 * (number // 2)) for number in range(count)
    ]
    if count % 2:
        places[-1] = (190.0, places[-1][1])
    return places, 380, 90 + 130 * rows + 14, (190.0, 48.0)


def _link(start: Place, end: Place, member: dict[str, Any]) -> Html:
    present = member["status"] in ("alive", "suspect")
    behind, lacking = member["behind_us"], member["we_are_behind"]
    kind = "late" if present and (behind or lacking) else member["status"]
    if present:
        label = "in step" if not behind and not lacking else " ".join(
            part for part in (f"↑{_short(behind)}" if behind else "",
                              f"↓{_short(lacking)}" if lacking else "") if part
        )
    else:
        label = "no link"
    # Nearer to the peer than to us, so that labels do not meet in the middle.
    x, y = (a + (b - a) * 0.5 for a, b in zip(start, end, strict=True))
    box = 13 + 7.4 * len(label)
    return fill(
        '<g class="link {kind}"><path d="M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}"/>'
        '<rect x="{left:.0f}" y="{top:.0f}" width="{box:.0f}" height="22" rx="11"/>'
        '<text x="{x:.0f}" y="{base:.0f}">{label}</text></g>',
        kind=kind, x1=start[0], y1=start[1], x2=end[0], y2=end[1], left=x - box / 2, top=y - 11,
        box=box, x=x, base=y + 4.5, label=label,
    )


def _node(place: Place, member: dict[str, Any], own: bool) -> Html:
    x, y = place[0] - _BOX_WIDTH / 2, place[1] - _BOX_HEIGHT / 2
    word = status_word(member)
    sessions = member.get("last_written")
    lines = [word + (" · this node" if own else "")]
    lines.append("" if sessions is None else f"{sessions:,} session{'' if sessions == 1 else 's'}")
    return fill(
        '<g class="node {status}{own}" transform="translate({x:.0f} {y:.0f})">'
        '<rect class="box" width="{w}" height="{h}" rx="12"/>'
        '<g transform="translate(22 25)">{shape}</g>'
        '<text class="name" x="38" y="30">{name}</text>'
        '<text x="38" y="49">{first}</text><text x="38" y="66">{second}</text></g>',
        status=member["status"], own=" own" if own else "", x=x, y=y, w=_BOX_WIDTH, h=_BOX_HEIGHT,
        shape=shape(member["status"]), name=_clip(member["route"]), first=lines[0],
        second=lines[1],
    )


def _label(own: dict[str, Any], members: list[dict[str, Any]]) -> str:
    others = ", ".join(f"{m['route']} is {status_word(m)}" for m in members[:NODES_DRAWN_MAX])
    return f"This node, {own['route']}, is {status_word(own)}" + (f"; {others}" if others else "")


def _clip(name: str) -> str:
    return name if len(name) <= NAME_SHOWN_MAX else f"{name[: NAME_SHOWN_MAX - 1]}…"


def _short(number: int) -> str:
    return f"{number:,}" if number < 10_000 else f"{number // 1000:,}k"
