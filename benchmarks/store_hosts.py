"""One store with more and more hosts: what a write costs each of them, and the store.

    python -m benchmarks store_hosts [--small]

Agents on one machine, each of a host with sessions of its own, write 300 times a second in total;
before that they are idle. Processor time is the kernel's, bytes are those that the store has read
and written. The fewer writes a host has, the dearer is each, as caches grow cold between them. So
each number of hosts is compared with two hosts of which each writes as often as one of those: more
hosts must not make a write dearer.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.nodes import BenchNode, joined_nodes, key, wait_until
from benchmarks.result import Cell, Chart, Result, Table, Target
from benchmarks.store_server import StoreServer, store_server

WRITES_PER_S = 300
TICK_S = 0.01
SESSIONS_PER_HOST = 10
SETTLE_S = 1.0
FEW = 2
GROWTH_MAX = 1.3
IDLE_STORE_PERCENT_MAX = 3.0
VALUE = b"\xc4\x40" + b"x" * 64
WHAT = ("hosts, us", "store, us", "bytes", "commands")


@dataclass(frozen=True)
class Seen:
    """What processes have used up to a moment. Bytes are the store's, in both directions."""

    moment_s: float
    hosts_cpu_s: float
    store_cpu_s: float
    sent_bytes: int
    calls: int

    @classmethod
    def now(cls, nodes: Sequence[BenchNode], store: StoreServer) -> "Seen":
        """Look."""
        calls = sum(store.calls().values())
        return cls(
            time.perf_counter(), sum(_cpu_s(node.pid) for node in nodes),
            _cpu_s(store.pid), store.net_bytes(), calls,
        )

    def rates(self, before: "Seen") -> tuple[float, float, float, float]:
        """Each a second since then."""
        took_s = self.moment_s - before.moment_s
        return (
            (self.hosts_cpu_s - before.hosts_cpu_s) / took_s,
            (self.store_cpu_s - before.store_cpu_s) / took_s,
            (self.sent_bytes - before.sent_bytes) / took_s,
            (self.calls - before.calls) / took_s,
        )


@dataclass(frozen=True)
class Cost:
    """Rates a second of all hosts and of the store: idle, and what so many writes add."""

    hosts: int
    idle: tuple[float, float, float, float]
    added: tuple[float, float, float, float]
    writes_per_s: float

    def per_write(self) -> tuple[float, float, float, float]:
        """Microseconds of all hosts together and of the store, bytes, commands."""
        hosts, store, sent, calls = (one / self.writes_per_s for one in self.added)
        return 1e6 * hosts, 1e6 * store, sent, calls


def run(small: bool) -> Result:
    """A small cluster and larger ones."""
    seconds, counts = (2.0, (2, 6)) if small else (20.0, (2, 10, 30))
    return result_of([
        (measure(count, WRITES_PER_S, seconds),
         measure(FEW, WRITES_PER_S * FEW / count, seconds) if count > FEW else None)
        for count in counts
    ])


def result_of(costs: Sequence[tuple[Cost, Cost | None]]) -> Result:
    """Tables, and whether a write costs the same. Beside each cost that of few hosts."""
    result = Result("Hosts with one store")
    idle: list[list[Cell]] = [
        [f"{c.hosts} hosts", 100 * c.idle[0] / c.hosts, 100 * c.idle[1],
         c.idle[2] / c.hosts / 1024, c.idle[2] / 1024, c.idle[3]]
        for c, _ in costs
    ]
    result.tables.append(Table("Idle", (
        "", "a host, CPU %", "store, CPU %", "a host, KiB/s", "store, KiB/s", "store, commands/s"
    ), idle))
    rows: list[list[Cell]] = []
    for many, few in costs:
        rows.append([_name(many), *many.per_write(), *[None] * len(WHAT)])
        if few is not None:
            rows[-1][-len(WHAT):] = _ratios(many, few)
            rows.append([_name(few), *few.per_write(), *[1.0] * len(WHAT)])
    result.tables.append(Table(
        "A write adds; and over that of two hosts that write as often each",
        ("", *WHAT, *(f"{one.partition(',')[0]} x" for one in WHAT)), rows,
    ))
    many, few = costs[-1]
    if few is not None:
        result.targets += [
            Target(f"a write of {many.hosts} hosts over one of {few.hosts}, {name}", ratio,
                   GROWTH_MAX)
            for name, ratio in zip(WHAT, _ratios(many, few), strict=True)
        ]
    result.targets.append(Target(
        f"the store with {many.hosts} idle hosts, CPU", 100 * many.idle[1], IDLE_STORE_PERCENT_MAX,
        unit="%",
    ))
    result.charts.append(Chart(
        "A write costs all hosts together", "microseconds of processor time",
        [str(c.hosts) for c, _ in costs],
        {"so many hosts": [c.per_write()[0] for c, _ in costs],
         "two, each as busy": [(f or c).per_write()[0] for c, f in costs]},
        x_title="hosts",
    ))
    result.raw = {"costs": costs}
    return result


def _name(cost: Cost) -> str:
    return f"{cost.hosts} hosts, {cost.writes_per_s:.0f}/s in total"


def _ratios(many: Cost, few: Cost) -> list[float]:
    pairs = zip(many.per_write(), few.per_write(), strict=True)
    return [mine / max(theirs, 1e-9) for mine, theirs in pairs]


def _cpu_s(pid: int) -> float:
    """Of all threads, finer than ticks: at some writes a second these are too coarse."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in threads) / 1e9


def measure(count: int, per_s: float, seconds: float) -> Cost:
    """What so many hosts cost, idle and with so many writes a second in total."""
    with store_server() as store, joined_nodes(count, store=store.url) as nodes:
        for number in range(SESSIONS_PER_HOST * count):
            _write(nodes, number, create=True)
        _settle(nodes, store)
        time.sleep(SETTLE_S)
        before = Seen.now(nodes, store)
        time.sleep(seconds)
        between = Seen.now(nodes, store)
        written, began_s = 0, time.perf_counter()
        while (past_s := time.perf_counter() - began_s) < seconds:
            for number in range(written, int(past_s * per_s)):
                _write(nodes, number)
                written += 1
            time.sleep(TICK_S)
        after = Seen.now(nodes, store)
        _settle(nodes, store)
    idle, loaded = between.rates(before), after.rates(between)
    added = (
        loaded[0] - idle[0], loaded[1] - idle[1], loaded[2] - idle[2], loaded[3] - idle[3],
    )
    return Cost(count, idle, added, written / (after.moment_s - between.moment_s))


def _write(nodes: Sequence[BenchNode], number: int, *, create: bool = False) -> None:
    """One write, on each host in turn."""
    node = nodes[number % len(nodes)]
    assert node.client is not None
    value = b"%020d" % number + VALUE
    session = number % (SESSIONS_PER_HOST * len(nodes))
    node.client.feed_moved(node.write(key(session), value, create))


def _settle(nodes: Sequence[BenchNode], store: StoreServer) -> None:
    """Wait until the store has all of it."""
    def is_there(node: BenchNode) -> bool:
        said = node.status().get("store", {})
        return bool(said.get("compared")) and said.get("behind") == 0

    for node in nodes:
        wait_until(lambda n=node: is_there(n), "the store to have all writes")
    wait_until(lambda: store.keys() >= SESSIONS_PER_HOST * len(nodes), "all sessions")
