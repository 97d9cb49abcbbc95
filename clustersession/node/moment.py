"""Every call into a node brings along when it happens, on two clocks."""

from typing import NamedTuple


class Moment(NamedTuple):
    """Names one instant on both clocks: monotonic seconds and wall-clock milliseconds."""

    now_s: float
    wall_ms: int
