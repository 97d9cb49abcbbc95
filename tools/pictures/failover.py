"""The failover as a moving picture: the two nodes above, what the demo prints below.

Steps that took milliseconds are shown for seconds; the times in the lines are those measured. It
moves by CSS alone, which pages allow in images. Who wants nothing to move sees the end.
"""

from collections.abc import Iterator, Sequence

from tools.pictures import svg
from tools.pictures.recording import NODES, Step

TITLE = (
    "Two nodes behind a sticky balancer. One is killed; the visitor's next request is answered by "
    "the other."
)
STEP_S, HOLD_S = 2.2, 4.0
ROWS, WIDTH_PX, SCHEME_PX = 14, 880, 124
COLUMNS = int((WIDTH_PX - 2 * svg.EDGE_PX) / svg.CHARACTER_PX)
_NODE_X_PX = 700
_NODE_Y_PX = {NODES[0]: 16, NODES[1]: 74}


class _Times:
    """When something shows, as CSS; ``style`` holds what was asked for so far."""

    def __init__(self, count: int) -> None:
        self._duration_s = count * STEP_S + HOLD_S
        self._count = count
        self.style = ""

    def shown(self, steps: Sequence[int]) -> str:
        """Attributes of what is visible in these steps alone."""
        visible = set(steps)
        frames = "".join(
            f"{self._percent(step)}%{{opacity:{int(step in visible)}}}"
            for step in range(self._count)
        )
        at_rest = int(self._count - 1 in visible)
        return self._animated(f"opacity:{at_rest}", frames)

    def moved(self, offsets_px: Sequence[float]) -> str:
        """Attributes of what is moved up by so much in each step."""
        frames = "".join(
            f"{self._percent(step)}%{{transform:translateY({-offset:g}px)}}"
            for step, offset in enumerate(offsets_px)
        )
        return self._animated(f"transform:translateY({-offsets_px[-1]:g}px)", frames)

    def _percent(self, step: int) -> str:
        return f"{100 * step * STEP_S / self._duration_s:.2f}"

    def _animated(self, at_rest: str, frames: str) -> str:
        name = f"a{self.style.count('@keyframes')}"
        self.style += (
            f".{name}{{{at_rest}}}@keyframes {name}{{{frames}}}"
            f"@media (prefers-reduced-motion:no-preference)"
            f"{{.{name}{{animation:{name} {self._duration_s:g}s step-end infinite}}}}\n"
        )
        return f' class="{name}"'


def failover(steps: Sequence[Step]) -> str:
    """The whole file."""
    times = _Times(len(steps))
    body = "\n".join([*_scheme(steps, times), *_log(steps, times)])
    height = SCHEME_PX + ROWS * svg.LINE_PX + 2 * svg.EDGE_PX
    return svg.picture(WIDTH_PX, height, TITLE, body, times.style)


def _scheme(steps: Sequence[Step], times: _Times) -> Iterator[str]:
    yield _box(40, 45, "visitor", svg.TEXT)
    yield _box(370, 45, "balancer", svg.TEXT)
    yield _arrow(180, 65, 368, 65, times.shown(_when(steps, serving=NODES)))
    for node in NODES:
        x, y = _NODE_X_PX, _NODE_Y_PX[node]
        dead = [number for number, step in enumerate(steps) if step.dead == node]
        alive = [number for number in range(len(steps)) if number not in dead]
        killed = _box(x, y, f"{node}  kill -9", svg.RED, ' stroke-dasharray="5 4"')
        yield f"<g{times.shown(alive)}>{_box(x, y, node, svg.GREEN)}</g>"
        yield f"<g{times.shown(dead)}>{killed}</g>"
        yield _arrow(510, 65, x - 2, y + 20, times.shown(_when(steps, serving=(node,))))


def _when(steps: Sequence[Step], serving: Sequence[str]) -> list[int]:
    """The steps in which one of these answers; from one that dies nothing comes."""
    return [
        number for number, step in enumerate(steps)
        if step.serving in serving and step.serving != step.dead
    ]


def _box(x: float, y: float, name: str, colour: str, more: str = "") -> str:
    rect = (
        f'<rect x="{x}" y="{y}" width="140" height="40" rx="6" fill="none" '
        f'stroke="{colour}" stroke-width="1.5"{more}/>'
    )
    return rect + svg.text(x + 70, y + 25, name, colour, ' text-anchor="middle"')


def _arrow(x1: float, y1: float, x2: float, y2: float, more: str) -> str:
    head = f"M{x2 - 9} {y2 - 5}L{x2} {y2}L{x2 - 9} {y2 + 5}"
    return (
        f'<path d="M{x1} {y1}L{x2} {y2}{head}" fill="none" stroke="{svg.BLUE}" '
        f'stroke-width="2"{more}/>'
    )


def _log(steps: Sequence[Step], times: _Times) -> Iterator[str]:
    """The lines of every step appear together, and those above make room."""
    top = SCHEME_PX + svg.EDGE_PX
    rows: list[str] = []
    offsets: list[float] = []
    for number, step in enumerate(steps):
        shown = times.shown(range(number, len(steps)))
        drawn: list[str] = []
        for content, colour in _coloured(step):
            y = top + (len(rows) + len(drawn) + 0.75) * svg.LINE_PX
            drawn.append(svg.text(svg.EDGE_PX, y, content, colour))
        rows += drawn
        rows[-len(drawn)] = f"<g{shown}>" + rows[-len(drawn)]
        rows[-1] += "</g>"
        offsets.append(max(0, len(rows) - ROWS) * svg.LINE_PX)
    yield f'<path d="M0 {SCHEME_PX}H{WIDTH_PX}" stroke="{svg.BORDER}"/>'
    yield (
        f'<clipPath id="screen"><rect y="{top}" width="{WIDTH_PX}" '
        f'height="{ROWS * svg.LINE_PX}"/></clipPath><g clip-path="url(#screen)">'
        f"<g{times.moved(offsets)}>"
    )
    yield from rows
    yield "</g></g>"


def _coloured(step: Step) -> Iterator[svg.Line]:
    heading, *details = step.lines
    yield heading, svg.GREEN if step.lines[0].startswith("Every") else svg.TEXT
    for line in details:
        colour = svg.YELLOW if "WARNING" in line else svg.RED if "kill -9" in line else svg.DIM
        content = line.replace("            ", "          ", 1)
        yield (content if len(content) <= COLUMNS else f"{content[:COLUMNS - 1]}…"), colour
