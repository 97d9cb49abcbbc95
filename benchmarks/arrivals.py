"""When the changes of one node arrive in the replica of another: watched by a process beside it.

Looks at the cursor on the writer's feed, one small read, as often as ``LOOK_S`` allows; so each
write is timed, not a sample, and the watcher takes little from those it watches.
"""

import multiprocessing
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from benchmarks.nodes import BenchNode
from clustersession.replica.home import NodeHome, open_node_replica
from clustersession.settings.settings import Settings

LOOK_S = 0.0001


class Arrivals:
    """What the watcher saw, after the block."""

    def __init__(self) -> None:
        self._places: list[int] = []
        self._times_s: list[float] = []

    def take(self, seen: list[tuple[int, float]]) -> None:
        """The watcher's notes, in order."""
        self._places = [place for place, _ in seen]
        self._times_s = [at_s for _, at_s in seen]

    def of(self, head: int) -> float:
        """The monotonic second at which everything up to this place was first seen."""
        found = bisect_left(self._places, head)
        if found == len(self._places):
            raise SystemExit(f"place {head} of the feed never arrived")
        return self._times_s[found]


@contextmanager
def watched(writer: BenchNode, reader: BenchNode, deadline_s: float = 30.0) -> Iterator[Arrivals]:
    """Watch until everything the writer has written by the end of the block is there."""
    arrivals = Arrivals()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, reader.settings, reader.home, writer.replica.node)
    process = context.Process(target=_watch, args=arguments, daemon=True)
    process.start()
    try:
        ours.recv()
        yield arrivals
        ours.send(writer.replica.head())
        if not ours.poll(deadline_s):
            raise SystemExit(f"what was written had not arrived {deadline_s:.0f} s later")
        arrivals.take(ours.recv())
    finally:
        process.kill()
        process.join()


def _watch(pipe: Connection, settings: Settings, home: NodeHome, writer: bytes) -> None:
    replica = open_node_replica(home, settings)
    seen: list[tuple[int, float]] = []
    last, until = -1, None
    pipe.send("ready")
    while until is None or last < until:
        cursor = replica.cursors().get(writer)
        if cursor is not None and cursor.position != last:
            last = cursor.position
            seen.append((last, time.monotonic()))
        if until is None and pipe.poll():
            until = pipe.recv()
        time.sleep(LOOK_S)
    pipe.send(seen)
