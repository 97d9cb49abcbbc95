"""How fast a cluster forms whose nodes all start at once, and what it costs when it has.

    python -m benchmarks forming

Agents, each at an address of its own, on the loopback interface of one network namespace (needs
root), so that the kernel's counters there are those of this cluster alone. All run niced, and share
the processors of this machine: the time includes what so many interpreters take to start. Found by
multicast or by three seeds. Bytes are those of the interface, headers included.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.nodes import BenchNode, bench_nodes
from benchmarks.progress import Progress
from benchmarks.result import Cell, Result, Table, Target
from tests.support.namespaces import network

COUNTS = (8, 16, 32, 48)
NICENESS = 15
FORMED_S_MAX = 120.0
SETTLE_S = 12.0
"""Until nothing is left of the start: addresses are tried again every few seconds."""
LOOK_S = 0.25
SEEDS = 3
PORT = 4600
GOALS_S = {32: 5.0, 48: 15.0}
IDLE_PERCENT_MAX = 1.0


@dataclass
class Seen:
    """What agents and their kernel have counted up to a moment.

    opened: TCP connections that somebody began; refused: those that came and became no links;
    links: that are up. lost, suspected: how often anybody took a member for dead, or doubted it.
    """

    moment_s: float = field(default_factory=time.perf_counter)
    opened: int = 0
    refused: int = 0
    links: int = 0
    lost: int = 0
    suspected: int = 0
    cpu_s: float = 0.0
    bytes: int = 0

    @classmethod
    def now(cls, nodes: Sequence[BenchNode]) -> "Seen":
        """Look at all."""
        network_files = Path(f"/proc/{nodes[0].pid}/net")
        seen = cls(opened=_tcp_opened(network_files), links=_established(network_files))
        seen.bytes = _loopback_bytes(network_files)
        seen.cpu_s = sum(node.cpu_s() for node in nodes)
        for node in nodes:
            status = node.status()
            counters: dict[str, int] = status.get("counters", {})
            seen.lost += counters.get("members_lost", 0)
            seen.suspected += counters.get("suspicions", 0)
            seen.refused += sum(status.get("connections_refused", {}).values())
        return seen


@dataclass
class Forming:
    """How one cluster formed, and its rest. formed_s: None, it did not within FORMED_S_MAX."""

    nodes: int
    way: str
    listening_s: float
    formed_s: float | None
    at_rest: Seen
    idle_percent: float
    idle_bytes_per_s: float

    def row(self) -> list[Cell]:
        """What the table shows of it."""
        seen = self.at_rest
        pairs = self.nodes * (self.nodes - 1) // 2
        return [
            f"{self.nodes}, {self.way}", self.listening_s, self.formed_s, pairs, seen.links,
            seen.opened, seen.refused, seen.suspected, seen.lost, self.idle_percent,
            self.idle_bytes_per_s / 1024,
        ]


def run(small: bool) -> Result:
    """Each number of nodes, found both ways."""
    os.nice(max(0, NICENESS - os.nice(0)))
    formings = [
        measure(count, way, 2.0 if small else 10.0, settle_s=1.0 if small else SETTLE_S)
        for count in ((4,) if small else COUNTS) for way in ("multicast", "seeds")
    ]
    return result_of(formings)


def measure(count: int, way: str, seconds: float, settle_s: float = SETTLE_S) -> Forming:
    """Start so many at once, wait until each has all others, then look how they rest."""
    with cluster(count, way) as nodes:
        began_s = time.perf_counter()
        for node in nodes:
            node.start_agent()
        listening_s, formed_s = _await(nodes, began_s, Progress(f"{count} nodes by {way}"))
        time.sleep(settle_s)
        before = Seen.now(nodes)
        begun_s, cpu_s, sent = time.perf_counter(), *_used(nodes)
        time.sleep(seconds)
        taken_s, cpu_after_s, sent_after = time.perf_counter() - begun_s, *_used(nodes)
        return Forming(
            count, way, listening_s, formed_s, before,
            100 * (cpu_after_s - cpu_s) / taken_s / count, (sent_after - sent) / taken_s / count,
        )


def result_of(formings: Sequence[Forming]) -> Result:
    """The table, and what was promised."""
    result = Result("Forming")
    result.notes.append(
        f"All agents niced by {NICENESS}, on {os.cpu_count()} processors that others may use."
    )
    result.tables.append(Table("Nodes that start at once", (
        "nodes", "all listen, s", "formed, s", "pairs", "links", "TCP opened", "refused",
        "suspected", "lost", "idle, CPU % each", "idle, KiB/s each",
    ), [forming.row() for forming in formings]))
    for forming in formings:
        name = f"{forming.nodes} nodes by {forming.way}"
        pairs = forming.nodes * (forming.nodes - 1) // 2
        result.targets += [
            Target(f"{name}, links a pair", forming.at_rest.links / pairs, 1.0),
            Target(f"{name}, false deaths", forming.at_rest.lost, 0.0, unit=""),
        ]
        if forming.nodes in GOALS_S:
            formed_s = float("inf") if forming.formed_s is None else forming.formed_s
            result.targets += [
                Target(f"{name}, formed", formed_s, GOALS_S[forming.nodes], unit="s"),
                Target(f"{name}, idle", forming.idle_percent, IDLE_PERCENT_MAX, unit="%"),
            ]
    result.raw = {"formings": formings}
    return result


@contextmanager
def cluster(count: int, way: str) -> Iterator[list[BenchNode]]:
    """Nodes at addresses of their own, that are to find each other by multicast or by seeds."""
    binds = [f"127.0.{number}.1" for number in range(1, count + 1)]
    settings: dict[str, Any] = {"port": PORT}
    if way == "seeds":
        seeds = tuple(f"{bind}:{PORT}" for bind in binds[:SEEDS])
        settings |= {"multicast_address": "", "seeds": seeds}
    with network(1) as hosts, bench_nodes(
        count, hosts=hosts * count, binds=binds, **settings
    ) as nodes:
        try:
            yield nodes
        finally:
            # All at once: one that leaves waits for its peers.
            for node in nodes:
                if node.agent is not None:
                    node.agent.kill()


def _await(
    nodes: Sequence[BenchNode], began_s: float, progress: Progress
) -> tuple[float, float | None]:
    """When the last one listened, and when each had all others; None: not in time.

    One is asked at a time: answers of all would take the processors from what they answer about.
    """
    listening_s = 0.0
    for step, is_done in (
        ("listen", lambda node: node.home.agent_socket.exists()),
        ("have all others", lambda node: node.is_ready(len(nodes) - 1)),
    ):
        for number, node in enumerate(nodes):
            while not is_done(node):
                if time.perf_counter() - began_s > FORMED_S_MAX:
                    return listening_s, None
                progress.tell(f"{number} of {len(nodes)} {step}")
                time.sleep(LOOK_S)
        if step == "listen":
            listening_s = time.perf_counter() - began_s
    return listening_s, time.perf_counter() - began_s


def _used(nodes: Sequence[BenchNode]) -> tuple[float, int]:
    return (
        sum(node.cpu_s() for node in nodes), _loopback_bytes(Path(f"/proc/{nodes[0].pid}/net")),
    )


def _tcp_opened(network_files: Path) -> int:
    lines = [line for line in (network_files / "snmp").read_text().splitlines() if "Tcp:" in line]
    names, values = (line.split() for line in lines)
    return int(values[names.index("ActiveOpens")])


def _established(network_files: Path) -> int:
    """TCP connections that are up; each has two ends here."""
    lines = (network_files / "tcp").read_text().splitlines()[1:]
    return sum(line.split()[3] == "01" for line in lines) // 2


def _loopback_bytes(network_files: Path) -> int:
    line = next(
        line for line in (network_files / "dev").read_text().splitlines() if "lo:" in line
    )
    return int(line.partition(":")[2].split()[0])
