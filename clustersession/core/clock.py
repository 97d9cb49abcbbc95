"""Is a hybrid logical clock: wall-clock milliseconds and a counter in one growing integer.

After Kulkarni et al., "Logical Physical Clocks" (2014). The high bits are wall-clock milliseconds,
the low 16 bits count writes within one millisecond; more than 65,535 writes simply run ahead of the
wall clock by a millisecond. The highest time a node has issued or seen is stored in the same
transaction as the write that used it, so a time is never issued twice, also across restarts.
"""

from typing import NamedTuple

COUNTER_BITS = 16


class Stamp(NamedTuple):
    """Says when and by whom a register was written. Totally ordered; never reused by a node."""

    time: int
    node: bytes


def next_time(highest: int, wall_ms: int) -> int:
    """Return the next hybrid time after ``highest``, not behind the wall clock."""
    time = wall_ms << COUNTER_BITS
    return time if time > highest else highest + 1


def wall_ms_of(time: int) -> int:
    """Return the wall-clock part of a hybrid time, in milliseconds."""
    return time >> COUNTER_BITS


def first_time(wall_ms: int) -> int:
    """Return the first hybrid time of a millisecond."""
    return wall_ms << COUNTER_BITS


def too_far_ahead(time: int, wall_ms: int, skew_ms_max: int) -> bool:
    """Tell whether a peer's time lies so far ahead that adopting it would poison every clock."""
    return wall_ms_of(time) > wall_ms + skew_ms_max
