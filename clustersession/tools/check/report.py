"""Holds what the checks found: a verdict each, and the report of several."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """Says how bad it is. warning: it works, and may not be wanted so. problem: it cannot work."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Verdict(NamedTuple):
    """Holds what one check found. ``text`` says it and, unless it is ok, what to change."""

    check: str
    level: Level
    text: str


def ok(check: str, text: str) -> Verdict:
    """Say that nothing is to be done."""
    return Verdict(check, Level.OK, text)


def warning(check: str, text: str) -> Verdict:
    """Say that it works, and may not be what is wanted."""
    return Verdict(check, Level.WARNING, text)


def problem(check: str, text: str) -> Verdict:
    """Say that it will not work."""
    return Verdict(check, Level.PROBLEM, text)


def has_problem(verdicts: Iterable[Verdict]) -> bool:
    """Tell whether anything will not work."""
    return any(verdict.level is Level.PROBLEM for verdict in verdicts)


def as_text(verdicts: Iterable[Verdict]) -> str:
    """Write a line for each, the level first."""
    return "\n".join(f"{v.level.value:<8} {v.check:<10} {v.text}" for v in verdicts)
