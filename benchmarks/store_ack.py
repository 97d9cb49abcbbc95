"""A write that the store confirms: how long it takes both ways, and what happens meanwhile.

    python -m benchmarks store_ack [--small] [--valkey]

This process is the worker: it commits, and has the write confirmed: by the store itself, or by its
agent, which pushes the change to the store and answers then. Both take turns, so that what else the
machine does meets both. The floor is a commit and a SET by a bare socket, which waits for its
answer. Each part is timed alone too, and counted is what the store was asked, what went over its
connections, and how often the agent slept.
"""

import asyncio
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
import uvloop

from benchmarks.nodes import BenchNode, key, p50_p99_max
from benchmarks.result import Cell, Result, Table, Target
from benchmarks.stores import settle, store_nodes, store_server
from clustersession.core.state import Change
from clustersession.replica.results import Committed
from clustersession.worker.direct_way import plain_write

SESSIONS = 100
ATTRIBUTES, ATTRIBUTE_BYTES = 8, 120
WRITES = 3000
WRITE_MAX = 1.3
IN_A_ROW = 20
"""So many writes go one way before the other has its turn."""


class Counted:
    """What the store and the agent have done so far, in numbers that only grow."""

    def __init__(self, node: BenchNode, store: "redis.Redis") -> None:
        assert node.agent is not None
        commands: Any = store.info("commandstats")
        network: Any = store.info("stats")
        self.calls = {name.removeprefix("cmdstat_"): row["calls"] for name, row in commands.items()}
        self.store_us = {
            name.removeprefix("cmdstat_"): row["usec"] for name, row in commands.items()
        }
        self.in_bytes = int(network["total_net_input_bytes"])
        self.out_bytes = int(network["total_net_output_bytes"])
        status = Path(f"/proc/{node.agent.pid}/status").read_text()
        slept = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)
        assert slept is not None
        self.sleeps = int(slept[1])
        self.cpu_us = 1e6 * node.cpu_s()


def run(small: bool) -> Result:
    """A node, its store, and we as its worker."""
    writes = 300 if small else WRITES
    result = Result("A write that the store confirms")
    with store_server() as store, store_nodes(store, 1, ack="one") as (node,):
        node.attach()
        _fill(node)
        settle(node)
        client = redis.Redis(port=store.port)
        parts = _parts(node, client, store.port, writes)
        both = {way: Timed() for way in (DIRECT, BY_AGENT)}
        _writes(node, both, writes)
        in_loop = {way: Timed() for way in (DIRECT, BY_AGENT)}
        uvloop.run(_writes_in_loop(node, in_loop, writes))
        costs = [_counted(node, store.admin, way, writes) for way in both]
        client.close()
    columns = ("", "p50", "p99", "max")
    rows: list[list[Cell]] = []
    for where, ways in (("threads", both), ("uvloop", in_loop)):
        for way, timed in ways.items():
            rows += timed.rows(f"{where}, {way}")
    rows += [[what, *p50_p99_max(taken)] for what, taken in parts.items()]
    result.tables += [Table("Microseconds", columns, rows), *costs]
    for where, ways in (("threads", both), ("uvloop", in_loop)):
        commit_us = p50_p99_max(ways[DIRECT].commits)[0]
        floor_us = p50_p99_max(parts[PLAIN_SET])[0] + commit_us
        measured = p50_p99_max(ways[DIRECT].whole)[0] / floor_us
        what = f"ack one over SET + commit, median, {where}"
        result.targets.append(Target(what, measured, WRITE_MAX))
    return result


PLAIN_SET = "alone: a plain SET of 1 KiB by redis-py"
DIRECT, BY_AGENT = "the store itself", "by the agent"


class Timed:
    """How long the parts of some writes took, in microseconds."""

    def __init__(self) -> None:
        self.commits: list[float] = []
        self.confirmations: list[float] = []

    @property
    def whole(self) -> list[float]:
        """A write, all of it."""
        return [a + b for a, b in zip(self.commits, self.confirmations, strict=True)]

    def add(self, began_ns: int, committed_ns: int, confirmed_ns: int) -> None:
        """One more write."""
        self.commits.append((committed_ns - began_ns) / 1000)
        self.confirmations.append((confirmed_ns - committed_ns) / 1000)

    def rows(self, what: str) -> list[list[Cell]]:
        """What is told of it."""
        return [
            [f"{what}: a write, all of it", *p50_p99_max(self.whole)],
            ["of which: commit", *p50_p99_max(self.commits)],
            ["of which: confirmation", *p50_p99_max(self.confirmations)],
        ]


def _fill(node: BenchNode) -> None:
    now_ms = time.time_ns() // 1_000_000
    for number in range(SESSIONS):
        sets = {f"field{each}": b"x" * ATTRIBUTE_BYTES for each in range(ATTRIBUTES)}
        change = Change(key(number), now_ms, sets, creation=node.creation(now_ms))
        node.replica.commit([change], now_ms)
        _confirm(node, node.write(key(number), b"-"))


def _commit(node: BenchNode, number: int) -> Committed:
    now_ms = time.time_ns() // 1_000_000
    change = Change(key(number % SESSIONS), now_ms, {"value": b"%d" % number})
    return node.replica.commit([change], now_ms)


def _ways(writes: int) -> list[tuple[int, str]]:
    turns = 2 * writes // IN_A_ROW
    return [
        (turn * IN_A_ROW + at, (DIRECT, BY_AGENT)[turn % 2])
        for turn in range(turns) for at in range(IN_A_ROW)
    ]


def _writes(node: BenchNode, ways: dict[str, Timed], count: int) -> None:
    assert node.client is not None
    for number, way in _ways(count):
        began_ns = time.perf_counter_ns()
        committed = _commit(node, number)
        committed_ns = time.perf_counter_ns()
        stored = committed.stored if way is DIRECT else ()
        if not node.client.confirm(committed.head, stored):
            raise RuntimeError("the store did not confirm a write")
        ways[way].add(began_ns, committed_ns, time.perf_counter_ns())


async def _writes_in_loop(node: BenchNode, ways: dict[str, Timed], count: int) -> None:
    assert node.client is not None
    for number, way in _ways(count):
        began_ns = time.perf_counter_ns()
        committed = _commit(node, number)
        committed_ns = time.perf_counter_ns()
        stored = committed.stored if way is DIRECT else ()
        if not await node.client.confirm_async(committed.head, stored):
            raise RuntimeError("the store did not confirm a write")
        ways[way].add(began_ns, committed_ns, time.perf_counter_ns())
    await asyncio.sleep(0.01)


def _counted(node: BenchNode, admin: "redis.Redis", way: str, writes: int) -> Table:
    settle(node)
    before = Counted(node, admin)
    assert node.client is not None
    for number in range(writes):
        committed = _commit(node, number)
        node.client.confirm(committed.head, committed.stored if way is DIRECT else ())
    settle(node)
    return _counts(before, Counted(node, admin), writes, way)


def _parts(
    node: BenchNode, client: "redis.Redis", port: int, count: int
) -> dict[str, list[float]]:
    value = b"x" * 1024
    head = node.replica.head()
    assert node.client is not None
    [way] = node.client._direct_ways
    committed = _commit(node, 1)
    write = plain_write(committed.head, committed.stored)
    assert write is not None
    with socket.create_connection(("127.0.0.1", port)) as bare:
        bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b"*3\r\n$3\r\nSET\r\n$5\r\nplain\r\n$1024\r\n" + value + b"\r\n"

        def set_by_hand() -> None:
            bare.sendall(request)
            bare.recv(64)

        return {
            PLAIN_SET: _timed(lambda: client.set("plain", value), count),
            "alone: the same by a bare socket": _timed(set_by_hand, count),
            "alone: worker to store and back, nothing changes": _timed(
                lambda: way.confirm(write), count
            ),
            "alone: worker to agent and back, nothing to be pushed": _timed(
                lambda: _confirm(node, head), count
            ),
        }


def _timed(do: Callable[[], object], count: int) -> list[float]:
    taken = []
    for _ in range(count):
        started_ns = time.perf_counter_ns()
        do()
        taken.append((time.perf_counter_ns() - started_ns) / 1000)
    return taken


def _confirm(node: BenchNode, head: int) -> None:
    assert node.client is not None
    if not node.client.confirm(head):
        raise RuntimeError("the store did not confirm a write")


def _counts(before: Counted, after: Counted, writes: int, way: str) -> Table:
    rows: list[list[Cell]] = []
    for name, calls in sorted(after.calls.items()):
        called = calls - before.calls.get(name, 0)
        # Heartbeats are seldom, and INFO is ours.
        if called > writes / 10:
            took_us = after.store_us[name] - before.store_us.get(name, 0)
            rows.append([f"{name.upper()} at the store", called / writes, took_us / writes])
    rows += [
        ["bytes to the store", (after.in_bytes - before.in_bytes) / writes, None],
        ["bytes from the store", (after.out_bytes - before.out_bytes) / writes, None],
        ["the agent slept", (after.sleeps - before.sleeps) / writes, None],
        ["the agent's processor time", None, (after.cpu_us - before.cpu_us) / writes],
    ]
    title = f"What one write costs, {way}"
    return Table(title, ("", "times or bytes", "microseconds"), rows)
