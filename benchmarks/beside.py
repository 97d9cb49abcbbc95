"""A worker that writes all the time beside whatever else a node does, in a process of its own."""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.nodes import BenchNode, key, open_worker, p50_p99_max
from clustersession.core.state import Change
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings

WRITES_PER_S = 100
OWN_SESSIONS = 200


@dataclass
class Taken:
    """What a worker's writes took, from the commit until a peer held them, in milliseconds.

    commits: of that, the commit alone, which waits for the writer's lock. unconfirmed: how many of
    the writes no peer has confirmed in time.
    """

    writes: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    unconfirmed: int = 0

    def figures(self) -> list[float | int]:
        """The cells of a table: p50, p99 and longest of both, and who was not confirmed."""
        return [*p50_p99_max(self.writes), *p50_p99_max(self.commits), self.unconfirmed]


@contextmanager
def writing(nodes: Sequence[BenchNode], place: int) -> Iterator[list[Taken]]:
    """Have a worker of each node write meanwhile; the list is filled at the end.

    Each has sessions of its own, from ``place`` on, and writes WRITES_PER_S as long as it keeps up.
    """
    context = multiprocessing.get_context("spawn")
    taken: list[Taken] = []
    workers = []
    for number, node in enumerate(nodes):
        ours, theirs = context.Pipe()
        first = place + number * OWN_SESSIONS
        arguments = theirs, node.settings, node.home, first
        process = context.Process(target=write_for_ever, args=arguments, daemon=True)
        process.start()
        workers.append((process, ours))
    for _, pipe in workers:
        pipe.recv()
    yield taken
    for _, pipe in workers:
        pipe.send("stop")
    for process, pipe in workers:
        taken.append(pipe.recv())
        process.join()


def write_for_ever(pipe: Connection, settings: Settings, home: NodeHome, first: int) -> None:
    """Be the worker, until told to stop."""
    replica, client = open_worker(settings, home)
    now_ms = time.time_ns() // 1_000_000
    creation = BenchNode.creation(now_ms)
    keys = [key(first + number) for number in range(OWN_SESSIONS)]
    created = [Change(one, now_ms, {"value": b"-"}, creation=creation) for one in keys]
    client.feed_moved(replica.commit(created, now_ms).head)
    taken, number = Taken(), 0
    pipe.send("ready")
    due_s = time.perf_counter()
    while not pipe.poll():
        number += 1
        now_ms = time.time_ns() // 1_000_000
        change = Change(keys[number % OWN_SESSIONS], now_ms, {"n": b"%d" % number})
        started_s = time.perf_counter()
        committed = replica.commit([change], now_ms)
        committed_s = time.perf_counter()
        if not committed.effective:
            raise RuntimeError("a write had no effect")
        taken.unconfirmed += not client.confirm(committed.head, committed.stored)
        taken.writes.append((time.perf_counter() - started_s) * 1000)
        taken.commits.append((committed_s - started_s) * 1000)
        # Whoever was late does not make up for it: what waits is one write, not a queue of them.
        due_s = max(due_s + 1 / WRITES_PER_S, time.perf_counter())
        time.sleep(max(0.0, due_s - time.perf_counter()))
    pipe.recv()
    client.close()
    replica.close()
    pipe.send(taken)
