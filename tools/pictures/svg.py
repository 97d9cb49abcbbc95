"""SVG of a terminal: light text on a dark ground, for light pages and for dark ones."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

CHARACTER_PX, LINE_PX, FONT_PX, EDGE_PX = 7.4, 18, 12.3, 14
GROUND, BORDER, TEXT, DIM = "#11161d", "#57606a", "#e6edf3", "#9aa5b1"
GREEN, RED, YELLOW, BLUE = "#56d364", "#ff7b72", "#e3b341", "#79c0ff"
_FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"

Line = tuple[str, str]
"""A text and its colour."""


def picture(width: float, height: float, title: str, body: str, style: str = "") -> str:
    """A whole file: the ground, the words for whoever cannot see it, and what is drawn."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" font-family="{_FONT}" '
        f'font-size="{FONT_PX}">\n<title>{escape(title)}</title>\n<style>{style}</style>\n'
        f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="8" '
        f'fill="{GROUND}" stroke="{BORDER}"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, content: str, colour: str = TEXT, more: str = "") -> str:
    """One line, with its spaces."""
    where = f'x="{x:g}" y="{y:g}" fill="{colour}"{more}'
    return f'<text {where} xml:space="preserve">{escape(content)}</text>'


def terminal(title: str, lines: Sequence[Line]) -> str:
    """A still picture of a screen."""
    width = max(len(content) for content, _ in lines) * CHARACTER_PX + 2 * EDGE_PX
    height = len(lines) * LINE_PX + 2 * EDGE_PX
    rows = (
        text(EDGE_PX, EDGE_PX + (number + 0.75) * LINE_PX, content, colour)
        for number, (content, colour) in enumerate(lines)
    )
    return picture(width, height, title, "\n".join(rows))
