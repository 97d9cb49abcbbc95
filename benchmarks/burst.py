"""A worker's commit while the agent of its host applies what a peer sends at once.

    python -m benchmarks burst [--small]

Two processes have one replica open. One applies batches of 2,500 changes, one after the other, as
an agent does that catches up; the other commits a plain change every millisecond, as a worker does.
Measured is the commit, and of it the wait for the writer's lock and how long that was held.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.result import Result, Table, Target
from clustersession.core.feed import START
from clustersession.core.state import Change, Creation
from clustersession.replica.opening import LmdbReplica, open_lmdb, open_memory

SKEW_MS = 300_000
BATCH = 2_500
KEPT_MS = 3_600_000
OURS, THEIRS = b"node-one", b"node-two"


def opened(directory: Path) -> LmdbReplica:
    """The replica that both processes have open."""
    return open_lmdb(
        directory, new_node=lambda: OURS, map_bytes=2**30, clock_skew_ms_max=SKEW_MS, boot_id="b"
    )


def created(number: int, now_ms: int) -> Change:
    """A session of one attribute."""
    creation = Creation(now_ms, now_ms + KEPT_MS, KEPT_MS)
    return Change(f"1key{number:019d}", now_ms, {"a": b"x" * 200}, creation=creation)


def apply_for_ever(directory: Path) -> None:
    """Be the agent, until killed."""
    replica = opened(directory)
    peer = open_memory(THEIRS, clock_skew_ms_max=SKEW_MS)
    now_ms = time.time_ns() // 1_000_000
    peer.commit([created(number, now_ms) for number in range(BATCH)], now_ms)
    print("ready", flush=True)
    cursor = START
    while True:
        batch = peer.feed(cursor.floor, cursor.position, 2**30)
        cursor = replica.apply(batch, now_ms).cursor
        writes = [Change(f"1key{n:019d}", now_ms, {"a": b"y" * 200}) for n in range(BATCH)]
        peer.commit(writes, now_ms)


@contextmanager
def burst(directory: Path) -> Iterator[None]:
    """Have another process apply batches meanwhile."""
    command = [sys.executable, "-m", "benchmarks.burst", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the other process did not start")
        yield
        process.kill()


class Watched:
    """The engine's transactions: how long each waited for the lock, and held it."""

    def __init__(self, replica: LmdbReplica) -> None:
        self.waited_us: list[float] = []
        self.held_us: list[float] = []
        self._begin = replica._engine.write
        replica._engine.write = self._write  # type: ignore[method-assign,assignment]

    @contextmanager
    def _write(self, **options: Any) -> Iterator[Any]:
        asked_ns = time.perf_counter_ns()
        with self._begin(**options) as transaction:
            begun_ns = time.perf_counter_ns()
            yield transaction
        self.held_us.append((time.perf_counter_ns() - begun_ns) / 1000)
        self.waited_us.append((begun_ns - asked_ns) / 1000)


def commits(replica: LmdbReplica, count: int) -> list[float]:
    """The microseconds of so many commits, one a millisecond."""
    key, taken = created(10**9, 0).key, []
    for number in range(count):
        now_ms = time.time_ns() // 1_000_000
        change = Change(key, now_ms, {"n": b"%d" % number})
        started_ns = time.perf_counter_ns()
        if not replica.commit([change], now_ms).effective:
            raise RuntimeError("a commit had no effect")
        taken.append((time.perf_counter_ns() - started_ns) / 1000)
        time.sleep(0.001)
    return taken


def run(small: bool) -> Result:
    """Alone, then beside the burst."""
    count = 500 if small else 10_000
    rows: list[tuple[str, float, float, float]] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as directory:
        replica = opened(Path(directory) / "r")
        now_ms = time.time_ns() // 1_000_000
        replica.commit([created(10**9, now_ms)], now_ms)
        watched = Watched(replica)
        rows += _rows("alone", commits(replica, count), watched)
        watched.waited_us.clear()
        watched.held_us.clear()
        with burst(Path(directory) / "r"):
            rows += _rows("beside a burst", commits(replica, count), watched)
        replica.close()
    columns = ("microseconds", "p50", "p99", "longest")
    late = {name: row for name, *row in rows}["commit, beside a burst"]
    targets = [
        Target("commit beside a burst, p99", late[1] / 1000, 5, unit="ms"),
        Target("commit beside a burst, longest", late[2] / 1000, 20, unit="ms"),
    ]
    return Result("A commit beside a burst", [Table("A commit", columns, rows)], targets)


def _rows(
    when: str, taken: list[float], watched: Watched
) -> list[tuple[str, float, float, float]]:
    series = {"commit": taken, "wait for the lock": watched.waited_us, "hold": watched.held_us}
    return [
        (f"{name}, {when}", median(one), sorted(one)[len(one) * 99 // 100], max(one))
        for name, one in series.items()
    ]


if __name__ == "__main__":
    apply_for_ever(Path(sys.argv[1]))
