"""Counts how long something took, by buckets."""

from bisect import bisect_left
from collections.abc import Iterator

BOUNDS_US = (
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000,
)  # fmt: skip
"""Upper bounds of the buckets: from a commit that met nobody to a peer that does not answer."""


class Durations:
    """Counts durations by bucket, and sums them; both only grow.

    Plain integers without a lock: under threads a count may miss a few.

    Attributes:
        counts: how many were not longer than each of BOUNDS_US and longer than the one before; at
            the end those that were longer than all.
        sum_us: all of them together.
    """

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0

    def add(self, took_ns: int) -> None:
        """Count one that took so long."""
        took_us = took_ns // 1000
        self.counts[bisect_left(BOUNDS_US, took_us)] += 1
        self.sum_us += took_us

    def told(self, name: str) -> Iterator[tuple[str, int]]:
        """Yield what an agent is told, by names that hold the bounds: another version has others.
        """
        yield from zip(bucket_names(name), self.counts, strict=True)
        yield f"{name}_us", self.sum_us


def bucket_names(name: str) -> list[str]:
    """Return how an agent is told of each bucket."""
    return [f"{name}_us_{bound}" for bound in (*BOUNDS_US, "more")]
