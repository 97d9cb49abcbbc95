"""What one check found, and a report of several."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """ok: nothing to do. warning: works, and may not be what is wanted. problem: will not work."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Verdict(NamedTuple):
    """One line. ``text`` says what was found and, unless it is ok, what to change."""

    check: str
    level: Level
    text: str


def ok(check: str, text: str) -> Verdict:
    """Nothing to do."""
    return Verdict(check, Level.OK, text)


def warning(check: str, text: str) -> Verdict:
    """It works, and may not be what is wanted."""
    return Verdict(check, Level.WARNING, text)


def problem(check: str, text: str) -> Verdict:
    """It will not work."""
    return Verdict(check, Level.PROBLEM, text)


def has_problem(verdicts: Iterable[Verdict]) -> bool:
    """Whether anything will not work."""
    return any(verdict.level is Level.PROBLEM for verdict in verdicts)


def as_text(verdicts: Iterable[Verdict]) -> str:
    """A line for each, the level first."""
    return "\n".join(f"{v.level.value:<8} {v.check:<10} {v.text}" for v in verdicts)
