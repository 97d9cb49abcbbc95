"""Bounds how many sessions begin in a second, with an allowance for bursts.

What is kept is a token bucket: whoever begins a session takes a token, and it fills with time. It
is a function of what was kept before, so that it can stand in a replica that processes share.
"""

from typing import NamedTuple

BURST_S = 10
"""How many seconds' worth may begin at once after a pause."""

_SET_BACK_MS = 60_000
_SESSION = 1000
"""A session takes this much: what one millisecond fills is then a whole number."""


class Allowance(NamedTuple):
    """Holds how much may begin, in thousandths of a session, and as of when."""

    at_ms: int
    left: int


def after_one_more(
    before: Allowance | None, per_second_max: int, wall_ms: int
) -> Allowance | None:
    """Return what is left when one more session begins; None when it is one too many."""
    full = per_second_max * BURST_S * _SESSION
    # Processes read the clock before they wait for each other, so a moment may lie a little before
    # the last one. Further back, the clock was set: nobody is to wait until it is there again.
    if before is None or wall_ms < before.at_ms - _SET_BACK_MS:
        before = Allowance(wall_ms, full)
    at_ms = max(wall_ms, before.at_ms)
    left = min(before.left + (at_ms - before.at_ms) * per_second_max, full)
    return None if left < _SESSION else Allowance(at_ms, left - _SESSION)
