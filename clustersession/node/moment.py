"""When something happens: the two clocks that every call into a node brings along."""

from typing import NamedTuple


class Moment(NamedTuple):
    """One instant on both clocks: monotonic seconds and wall-clock milliseconds."""

    now_s: float
    wall_ms: int
