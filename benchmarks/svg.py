"""Charts as SVG: bars in groups, or lines; plain enough to be read in a diff."""

import math
from collections.abc import Callable
from html import escape

from benchmarks.result import Chart

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 340, 64, 16, 62, 46
COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#475569", "#0891b2", "#a16207")
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


def as_svg(chart: Chart) -> str:
    """The whole document."""
    values = [v for row in chart.series.values() for v in row if v is not None and v > 0]
    ticks = _ticks(values, chart.log)
    low, high = (math.log10(ticks[0]), math.log10(ticks[-1])) if chart.log else (0.0, ticks[-1])

    def y_of(value: float) -> float:
        scaled = math.log10(max(value, ticks[0])) if chart.log else value
        return TOP + PLOT_HEIGHT * (1 - (scaled - low) / ((high - low) or 1))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#1f2937">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{escape(chart.title)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="20" text-anchor="end">{escape(chart.unit)}</text>',
    ]
    legend_x = LEFT
    for number, name in enumerate(chart.series):
        parts.append(
            f'<rect x="{legend_x}" y="33" width="11" height="11" fill="{_colour(number)}"/>'
            f'<text x="{legend_x + 15}" y="43">{escape(name)}</text>'
        )
        legend_x += 30 + round(6.6 * len(name))
    for tick in ticks:
        y = y_of(tick)
        parts.append(
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e5e7eb"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    parts += _lines(chart, y_of) if chart.lines else _bars(chart, y_of)
    if chart.x_title:
        parts.append(
            f'<text x="{LEFT + PLOT_WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{escape(chart.x_title)}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bars(chart: Chart, y_of: Callable[[float], float]) -> list[str]:
    parts = []
    group = PLOT_WIDTH / len(chart.labels)
    bar = group * 0.8 / len(chart.series)
    for place, label in enumerate(chart.labels):
        left = LEFT + group * (place + 0.1)
        for number, row in enumerate(chart.series.values()):
            value = row[place]
            if value is None:
                continue
            x, y = left + bar * number, y_of(max(value, 0))
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar * 0.92:.1f}" '
                f'height="{TOP + PLOT_HEIGHT - y:.1f}" fill="{_colour(number)}"/>'
                f'<text x="{x + bar * 0.46:.1f}" y="{y - 4:.1f}" font-size="10" '
                f'text-anchor="middle">{value:.3g}</text>'
            )
        parts.append(_label(left + group * 0.4, label))
    return parts


def _lines(chart: Chart, y_of: Callable[[float], float]) -> list[str]:
    xs = [LEFT + PLOT_WIDTH * (n + 0.5) / len(chart.labels) for n in range(len(chart.labels))]
    parts = [_label(x, label) for x, label in zip(xs, chart.labels, strict=True)]
    for number, row in enumerate(chart.series.values()):
        points = [(x, y_of(v)) for x, v in zip(xs, row, strict=True) if v is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour = _colour(number)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return parts


def _label(x: float, label: str | float) -> str:
    text = label if isinstance(label, str) else f"{label:,g}"
    return (
        f'<text x="{x:.1f}" y="{TOP + PLOT_HEIGHT + 17}" text-anchor="middle">{escape(text)}</text>'
    )


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _ticks(values: list[float], log: bool) -> list[float]:
    most = max(values, default=1.0)
    if log:
        first = math.floor(math.log10(min(values, default=0.1)))
        last = max(math.ceil(math.log10(most)), first + 1)
        return [10.0**power for power in range(first, last + 1)]
    step = 10 ** math.floor(math.log10(most))
    for factor in (0.2, 0.5, 1.0, 2.0):
        if most / (step * factor) <= 6:
            step *= factor
            break
    return [step * n for n in range(math.ceil(most / step) + 1)]
