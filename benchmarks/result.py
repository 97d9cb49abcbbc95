"""What a benchmark hands back: tables, targets and a chart; and its forms as text and as JSON."""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Cell = float | int | str | None


@dataclass(frozen=True)
class Table:
    """``rows`` have a cell for each of ``columns``, the first of which names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Target:
    """A figure that was promised. ``limit`` is the most it may be, with ``at_least`` the least."""

    what: str
    measured: float
    limit: float
    at_least: bool = False
    unit: str = "x"

    @property
    def met(self) -> bool:
        """Whether it is kept."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(frozen=True)
class Chart:
    """``lines`` over numbers, else groups of bars: ``series`` gives each a value per ``label``.

    ``log``: powers of ten on the y axis.
    """

    title: str
    unit: str
    labels: Sequence[str | float]
    series: Mapping[str, Sequence[float | None]]
    lines: bool = False
    log: bool = False
    x_title: str = ""


@dataclass
class Result:
    """One benchmark's answers. ``raw`` is whatever else belongs into the JSON file."""

    title: str
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)


def as_text(result: Result) -> str:
    """Aligned tables."""
    parts = [result.title, "=" * len(result.title), *result.notes]
    for table in result.tables:
        parts += ["", table.title, *_aligned(table)]
    if result.targets:
        parts += ["", *_aligned(targets_table(result.targets))]
    return "\n".join(parts) + "\n"


def as_json(result: Result, seconds: float, small: bool) -> str:
    """Everything, with the machine it was measured on."""
    content = {
        "machine": machine(), "small": small, "taken_s": round(seconds, 1), **asdict(result),
    }
    return json.dumps(content, indent=1, default=str) + "\n"


def targets_table(targets: Sequence[Target]) -> Table:
    """What was promised, what was measured."""
    rows = [
        (t.what, f"{_text(t.measured)} {t.unit}",
         f"{'at least' if t.at_least else 'at most'} {_text(t.limit)} {t.unit}",
         "met" if t.met else "MISSED")
        for t in targets
    ]
    return Table("Targets", ("target", "measured", "limit", ""), rows)


def machine() -> dict[str, object]:
    """What the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else ())
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "date": time.strftime("%Y-%m-%d"),
    }


def _aligned(table: Table) -> list[str]:
    rows = [[_text(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.1f}" if abs(cell) >= 10 else (
            f"{cell:.2f}" if abs(cell) >= 0.1 or cell == 0 else f"{cell:.3g}"
        )
    return f"{cell:,}" if isinstance(cell, int) else cell
