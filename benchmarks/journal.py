"""What the journal costs while nothing happens to the power, and how long a recovery takes.

    python -m benchmarks journal

Two pairs of nodes on loopback, with ``durability="none"`` and ``"second"``, take turns: so many
writes to the one, so many to the other, each write waited for by the peer. The processor time is
that of both agents. The bytes are the journal's, of 200 bytes written to one attribute. A recovery
reads a journal that was written anew, and merges it into an empty replica, on one thread.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.nodes import BenchNode, bench_nodes, joined_nodes, key, p50_p99_max
from benchmarks.result import Cell, Result, Table, Target
from benchmarks.snapshot import fill
from clustersession.core.state import Change
from clustersession.replica.journal.keeper import JournalKeeper, JournalListener
from clustersession.replica.journal.reading import JournalReading
from clustersession.replica.journal.segments import bytes_of
from clustersession.replica.opening import open_lmdb
from clustersession.wire.journal import JournalLife

MODES = ("none", "second")
SESSIONS = 1000
PAYLOAD_BYTES = 200
PER_TURN = 250
PAUSE_S = 0.001
FRESH_NODE = b"newnode!"
SKEW_MS = 600_000
MAP_BYTES = 8 * 2**30


def run(small: bool) -> Result:
    """Both, side by side."""
    result = Result("The journal")
    _writes(result, 4 if small else 24)
    _recoveries(result, (10_000,) if small else (10_000, 100_000, 1_000_000))
    return result


class Side:
    """One of the two pairs, and what was measured of it."""

    def __init__(self, mode: str, stack: ExitStack) -> None:
        self.mode = mode
        self.nodes = stack.enter_context(joined_nodes(2, durability=mode, ack_timeout_s=10))
        fill(self.nodes[0], SESSIONS, PAYLOAD_BYTES)
        self.writes: list[float] = []
        self.ends: list[float] = []
        self.cpu_s = 0.0
        self._number = 0

    def turn(self) -> None:
        """Some writes with pauses, and then some logouts."""
        before_s = sum(node.cpu_s() for node in self.nodes)
        for _ in range(PER_TURN):
            self._number += 1
            self.writes.append(self._confirmed(key(self._number % SESSIONS), end=False))
            time.sleep(PAUSE_S)
        self.cpu_s += sum(node.cpu_s() for node in self.nodes) - before_s
        for _ in range(PER_TURN // 10):
            self._number += 1
            name = key(SESSIONS + self._number)
            self.nodes[0].write(name, b"x", create=True)
            self.ends.append(self._confirmed(name, end=True))

    def forget(self) -> None:
        """Begin to measure."""
        self.writes, self.ends, self.cpu_s = [], [], 0.0

    def journal_bytes(self) -> int:
        """What the writer's journal has."""
        return bytes_of(self.nodes[0].home.journal)

    def _confirmed(self, name: str, *, end: bool) -> float:
        node = self.nodes[0]
        assert node.client is not None
        now_ms = time.time_ns() // 1_000_000
        change = Change(name, now_ms, end="invalidated") if end else Change(
            name, now_ms, {"value": b"%0200d" % self._number}
        )
        started_s = time.perf_counter()
        head = node.replica.commit([change], now_ms).head
        if not node.client.confirm(head, ends=end):
            raise SystemExit("nobody confirmed")
        return (time.perf_counter() - started_s) * 1000


def _writes(result: Result, turns: int) -> None:
    with ExitStack() as stack:
        sides = [Side(mode, stack) for mode in MODES]
        for side in sides:
            # By then all that was filled in has come to the peer and to the journals.
            side.turn()
            side.forget()
        before = sides[1].journal_bytes()
        for number in range(turns):
            for side in sides if number % 2 else reversed(sides):
                side.turn()
        written = sides[1].journal_bytes() - before
    rows: list[Sequence[Cell]] = []
    for side in sides:
        cpu_us = 1e6 * side.cpu_s / len(side.writes)
        p50, p99, _ = p50_p99_max(side.writes)
        rows.append((side.mode, p50, p99, *p50_p99_max(side.ends)[:2], cpu_us))
    result.tables.append(Table(
        "A write that a peer confirms, and a logout, milliseconds",
        ("durability", "write p50", "p99", "logout p50", "p99", "both agents' CPU us a write"),
        rows,
    ))
    result.raw["journal_bytes_per_write"] = written / (turns * PER_TURN * 1.1)
    without, kept = (p50_p99_max(side.writes) for side in sides)
    result.targets += [
        Target("a confirmed write with the journal over without, p50", kept[0] / without[0], 1.15),
        Target("journal bytes a write of 200 bytes",
               result.raw["journal_bytes_per_write"], 500, unit="B"),
    ]


def _recoveries(result: Result, counts: Sequence[int]) -> None:
    rows: list[Sequence[Cell]] = []
    for count in counts:
        with bench_nodes(1, ack="none", durability="none", map_bytes=MAP_BYTES) as (node,):
            fill(node, count, PAYLOAD_BYTES)
            rows.append(_recovery(node, count))
    result.tables.append(Table(
        "A recovery", ("sessions", "journal MiB", "looked through s", "read and merged s",
                       "CPU s of both"), rows,
    ))
    last = rows[-1]
    result.targets.append(Target(
        f"{last[0]} sessions are back within", float(last[2] or 0) + float(last[3] or 0), 30.0,
        unit="s",
    ))


def _recovery(node: BenchNode, count: int) -> Sequence[Cell]:
    with tempfile.TemporaryDirectory(prefix="clustersession-bench-") as name:
        directory = Path(name) / "journal"
        keeper = JournalKeeper(directory, node.replica, JournalListener())
        keeper.open()
        keeper.append([JournalLife(node.replica.node)])
        keeper.start()
        while not keeper.state.rewritings:
            time.sleep(0.01)
        keeper.close()
        fresh = open_lmdb(
            Path(name) / "replica", new_node=lambda: FRESH_NODE, map_bytes=MAP_BYTES,
            clock_skew_ms_max=SKEW_MS, boot_id="",
        )
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        JournalReading(directory).look()
        looked_s = time.perf_counter() - started_s
        merged = 0
        for page in JournalReading(directory).sessions():
            merged += fresh.merge(page, time.time_ns() // 1_000_000)
        took_s = time.perf_counter() - started_s - looked_s
        cpu_s = time.process_time() - started_cpu_s
        fresh.close()
        if merged != count:
            raise SystemExit(f"{merged} of {count} sessions came back")
        return count, bytes_of(directory) / 2**20, looked_s, took_s, cpu_s
