"""Is a point in time on both clocks; every call into a node brings one along."""

from typing import NamedTuple


class Moment(NamedTuple):
    """Names one instant on both clocks: monotonic seconds and wall-clock milliseconds."""

    now_s: float
    wall_ms: int
