"""A million sessions in a store, and a host that keeps about ten thousand of them.

    python -m benchmarks store_million [--small]
    python -m benchmarks.store_million [--sessions 100000]

The store is filled by the merges that a host would push. Then a worker opens sessions that are not
here (misses) and that are (hits), called directly, one at a time; and then all that there are, one
after the other, many at a time, while the near cache has to let go of as many.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from benchmarks.memory import Memory, memory_of
from benchmarks.million_worker import identifier
from benchmarks.nodes import BenchNode, bench_nodes, wait_until
from benchmarks.progress import Progress
from benchmarks.result import Chart, Result, Table, Target, as_text
from benchmarks.store_server import StoreServer, store_server
from clustersession.core.clock import first_time
from clustersession.core.ids import KEY_LENGTH
from clustersession.core.state import IDLE_TIMEOUT, Register, SessionState
from clustersession.net.store.open_store import plan_of
from clustersession.net.store.resp import Part, command
from clustersession.node.store_calls import Merge
from clustersession.session.token import id_signer
from clustersession.settings.settings import Settings
from clustersession.wire.values import encode_value

ROOT = Path(__file__).parents[1]
FILLER = b"a filler"
AT_ONCE = 16
PIPELINED = 500
MISSES = 500
LOOK_S = 0.1
SLACK_S = 5.0
"""How long the near cache may take to look through what it has."""


@dataclass(frozen=True)
class Scale:
    """How many sessions, what the host may keep of them, and how fast it walks through them.

    per_s: requests a second at most; 0: as fast as it goes. idle_timeout_s: of the sessions.
    """

    sessions: int
    near_cache_bytes: int
    idle_timeout_s: float
    per_s: float


FULL = Scale(1_000_000, 8 * 2**20, 1200, 0)
SMALL = Scale(5_000, 2**20, 20, 500)


class FunctionWriter:
    """Writes calls for a server that has our functions."""

    def call(self, function: str, keys: list[bytes], *arguments: Part) -> bytes:
        """Write one."""
        return command("FCALL", function, len(keys), *keys, *arguments)


class Worker:
    """A process that opens sessions for us."""

    def __init__(self, process: "subprocess.Popen[str]", lines: TextIO, answers: TextIO) -> None:
        self._process, self._lines, self._answers = process, lines, answers
        self.pid = int(answers.readline())

    def ask(self, first: int, count: int, at_once: int, per_s: float) -> None:
        """Have it begin."""
        self._lines.write(json.dumps([first, count, at_once, per_s]) + "\n")
        self._lines.flush()

    def answer(self) -> dict[str, float]:
        """What came of it."""
        found: dict[str, float] = json.loads(self._answers.readline())
        return found

    def has_answered(self) -> bool:
        """Whether it is done with what it was asked."""
        return bool(select.select([self._answers], [], [], 0)[0])

    def open(self, first: int, count: int) -> dict[str, float]:
        """So many, one at a time."""
        self.ask(first, count, 1, 0)
        return self.answer()


def run(small: bool) -> Result:
    """Fill, open and walk."""
    return measure(SMALL if small else FULL)


def measure(scale: Scale) -> Result:
    """The same, of any size."""
    result = Result("A store of many sessions")
    settings = {
        "idle_timeout_s": scale.idle_timeout_s, "near_cache_bytes_max": scale.near_cache_bytes,
    }
    with ExitStack() as stack:
        store = stack.enter_context(store_server())
        (node,) = stack.enter_context(bench_nodes(1, store=store.url, **settings))
        node.start_agent()
        wait_until(lambda: node.is_ready(0), "the agent")
        # It starts before, because from now on they are idle.
        worker = stack.enter_context(worker_of(node, scale))
        before = store.info("used_memory")
        seconds = fill(store, node.settings, scale)
        per_session = (store.info("used_memory") - before) / scale.sessions
        result.notes.append(
            f"{scale.sessions:,} sessions, told in {seconds:.0f} s; {per_session:.0f} bytes each "
            f"in Redis, {store.resident_bytes() / 2**20:.0f} MiB resident; the near cache may take "
            f"{scale.near_cache_bytes / 2**20:.0f} MiB."
        )
        _open(result, worker, scale)
        _walk(result, node, worker, scale)
    result.raw["redis_bytes_per_session"] = per_session
    return result


def fill(store: StoreServer, settings: Settings, scale: Scale) -> float:
    """Tell the store of all sessions, as a host would; the seconds that it took."""
    began_s = time.perf_counter()
    store.tell(_merges(settings, scale))
    return time.perf_counter() - began_s


def _merges(settings: Settings, scale: Scale) -> Iterator[list[bytes]]:
    calls, writer = plan_of(settings).calls, FunctionWriter()
    signer = id_signer(settings.secret, settings.cluster_name)
    progress = Progress("the store is filled")
    for start in range(0, scale.sessions, PIPELINED):
        merges = [
            Merge(identifier(signer, number)[:KEY_LENGTH], _state(number, scale), whole=True)
            for number in range(start, min(start + PIPELINED, scale.sessions))
        ]
        yield [calls.command(merge, calls.keys_of(merge)[0], writer, b"") for merge in merges]
        progress.tell(f"{start + len(merges):,} of {scale.sessions:,} sessions")


def _state(number: int, scale: Scale) -> SessionState:
    now_ms = time.time_ns() // 1_000_000
    values = {
        "user": encode_value(number), "cart": encode_value(["tea", "cake"]),
        "seen": encode_value("x" * 100), IDLE_TIMEOUT: b"%d" % round(scale.idle_timeout_s * 1000),
    }
    registers = {
        name: Register(first_time(now_ms), FILLER, number + 1, value)
        for name, value in values.items()
    }
    return SessionState(now_ms, now_ms, now_ms + 86_400_000, registers, {FILLER: number + 1})


@contextmanager
def worker_of(node: BenchNode, scale: Scale) -> Iterator[Worker]:
    """A worker of the node, in a process of its own."""
    environment = {
        **os.environ, **node.environment(),
        "CLUSTERSESSION_DISTRIBUTABLE": "true",
        "CLUSTERSESSION_IDLE_TIMEOUT_S": str(scale.idle_timeout_s),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.million_worker"], env=environment, cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Worker(process, process.stdin, process.stdout)
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def _open(result: Result, worker: Worker, scale: Scale) -> None:
    misses = worker.open(scale.sessions - MISSES, MISSES)
    hits = worker.open(scale.sessions - MISSES, MISSES)
    columns = ("", "p50 ms", "p99 ms", "max ms", "not found", "p50 x")
    result.tables.append(Table(f"A request, {MISSES} of each", columns, [
        (name, one["p50_ms"], one["p99_ms"], one["max_ms"], int(one["lost"] + one["late"]),
         one["p50_ms"] / hits["p50_ms"])
        for name, one in (("of a session not here", misses), ("of one that is here", hits))
    ]))
    result.targets += [
        Target("a miss, p50", misses["p50_ms"], 2.0, unit="ms"),
        Target("a hit, p50", hits["p50_ms"], 0.1, unit="ms"),
        Target("opened and not found", sum(one["lost"] + one["late"] for one in (misses, hits)), 0,
               unit=""),
    ]


def _walk(result: Result, node: BenchNode, worker: Worker, scale: Scale) -> None:
    assert node.agent is not None
    began_s, began_cpu_s = time.perf_counter(), node.cpu_s()
    course: list[tuple[float, int, int]] = []

    def look() -> None:
        stats = node.replica.stats()
        course.append((time.perf_counter() - began_s, stats.sessions, stats.bytes_used))

    worker.ask(0, scale.sessions - MISSES, AT_ONCE, scale.per_s)
    while not worker.has_answered():
        look()
        time.sleep(LOOK_S)
    walked = worker.answer()
    walked["agent_us"] = 1e6 * (node.cpu_s() - began_cpu_s) / (scale.sessions - MISSES)
    memories = {"agent": memory_of(node.agent.pid), "worker": memory_of(worker.pid)}
    file_bytes = sum(path.stat().st_blocks * 512 for path in node.home.replica.rglob("*"))
    deadline_s = 2 * SLACK_S
    settled_s, end_s = deadline_s, time.perf_counter()
    while (past_s := time.perf_counter() - end_s) < deadline_s:
        look()
        if course[-1][2] <= scale.near_cache_bytes:
            settled_s = past_s
            break
        time.sleep(LOOK_S)
    most = max(sessions for _, sessions, _ in course)
    per_session = max(bytes_used for *_, bytes_used in course) / most
    on_the_way = walked["per_s"] * SLACK_S
    bound = min(float(scale.sessions), on_the_way + scale.near_cache_bytes / per_session)
    _tell_walk(result, walked, memories, file_bytes, most, settled_s)
    result.targets += [
        Target("walked and not found", walked["lost"], 0, unit=""),
        Target("walked and not found in time", walked["late"], 0, unit=""),
        Target("sessions here at most, over the bound and those of 5 s", most / bound, 1.0),
        Target("within the bound again", settled_s, SLACK_S, unit="s"),
    ]
    result.charts.append(Chart(
        "Sessions on the host during a walk through all", "sessions",
        [round(second, 1) for second, *_ in course],
        {"sessions": [float(sessions) for _, sessions, _ in course]}, lines=True, x_title="seconds",
    ))
    result.raw |= {"course": course, "walked": walked}


def _tell_walk(
    result: Result, walked: dict[str, float], memories: dict[str, Memory], file_bytes: int,
    most: int, settled_s: float,
) -> None:
    result.tables.append(Table("A walk through all, and what it leaves", ("", ""), [
        ("requests/s", walked["per_s"]), ("later than fetch_timeout_s", int(walked["late"])),
        ("p50 ms", walked["p50_ms"]), ("p99 ms", walked["p99_ms"]),
        ("agent, us of CPU a request", walked["agent_us"]), ("sessions here at most", most),
        ("within the bound after, s", settled_s),
        ("replica file, MiB", file_bytes / 2**20),
    ]))
    rows: Sequence[tuple[str, float, float, float]] = [
        (name, one.resident / 1024, one.share / 1024, one.own / 1024)
        for name, one in memories.items()
    ]
    result.tables.append(Table("Memory, MiB", ("", "resident", "share", "own"), rows))


def main() -> None:
    """With as many sessions as one wants."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_million")
    parser.add_argument("--sessions", type=int, default=FULL.sessions)
    count: int = parser.parse_args().sessions
    scale = Scale(count, FULL.near_cache_bytes, FULL.idle_timeout_s, FULL.per_s)
    print(as_text(measure(SMALL if count <= SMALL.sessions else scale)))


if __name__ == "__main__":
    main()
