"""A worker's write while its node, which holds very many sessions, has something large to do.

    python -m benchmarks large [--small]
    python -m benchmarks.large [sessions]

Two nodes with real agents. A worker of each, see ``benchmarks.beside``, writes 100 times a second
and waits until the other node holds each write. Measured is the write, and of it the commit alone:

donation      the second node is new and takes everything from the first
loading       another process of the first node commits new sessions, 100 at a time
repair        the second node lacks 1 % of the sessions, though it has followed every stream
catching up   the second node was away while the first one wrote
expiry        all sessions of two other nodes expire within a minute
"""

import multiprocessing
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.beside import OWN_SESSIONS, Taken, writing
from benchmarks.nodes import BenchNode, bench_nodes, key, open_worker, wait_until
from benchmarks.result import Cell, Result, Table, Target, as_text
from clustersession.core.state import Change, Creation
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings

PER_COMMIT = 100
PER_FILL = 500
VALUE = b"x" * 200
DEADLINE_S = 900.0
OWN_PLACE = 10**9
LOOK_S = 0.1
COLUMNS = ("milliseconds", "write p50", "p99", "longest", "commit p50", "p99", "longest",
           "not confirmed", "writes", "seconds")


@dataclass(frozen=True)
class Size:
    """How much: sessions held, loaded, missed by a node that was away, and how fast they expire.

    lead_per_session_s: the time to fill both nodes before the first one expires.
    """

    sessions: int
    loaded: int
    missed: int
    expiring_s: float
    lead_per_session_s: float = 1 / 5000

    @property
    def lacking(self) -> int:
        """How many the second node lacks."""
        return self.sessions // 100


SMALL = Size(sessions=20_000, loaded=4_000, missed=2_000, expiring_s=6.0)
FULL = Size(sessions=1_000_000, loaded=100_000, missed=50_000, expiring_s=60.0)


@dataclass
class Seen:
    """What was measured so far. place: where the next sessions of writers begin."""

    rows: list[list[Cell]] = field(default_factory=list)
    taken: dict[str, Taken] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    place: int = OWN_PLACE

    @contextmanager
    def beside(self, what: str, **nodes: BenchNode) -> Iterator[None]:
        """Have workers of the named nodes write meanwhile, and keep what that took."""
        print(f"    {what} ...", end="", flush=True)
        with writing(list(nodes.values()), self.place) as taken:
            started_s = time.perf_counter()
            yield
            seconds = time.perf_counter() - started_s
        self.place += len(nodes) * OWN_SESSIONS
        self.seconds[what] = seconds
        for whose, one in zip(nodes, taken, strict=True):
            self.taken[f"{what}, {whose}"] = one
            self.rows.append([f"{what}, {whose}", *one.figures(), len(one.writes), seconds])
        print(f" {seconds:.1f} s", flush=True)


def run(small: bool) -> Result:
    """20,000 sessions, or a million."""
    return measure(SMALL if small else FULL)


def measure(size: Size) -> Result:
    """Everything, one after the other."""
    seen = Seen()
    with bench_nodes(2, join_timeout_s=600.0) as (first, second):
        _donate(seen, size, first, second)
        _load(seen, size, first, second)
        _repair(seen, size, first, second)
        _catch_up(seen, size, first, second)
    with bench_nodes(2) as (first, second):
        _expire(seen, size, first, second)
    title = f"A write beside something large, {size.sessions:,} sessions"
    return Result(title, [Table("A write", COLUMNS, seen.rows)], _targets(seen))


def _targets(seen: Seen) -> list[Target]:
    found = []
    for row, p99_ms, longest_ms in (
        ("loading, sender", 20, 100), ("loading, receiver", 20, 100),
        ("expiry, first", 20, 100), ("repair, complete", 20, 100), ("repair, lacking", 20, 100),
        ("catching up, returned", 50, None), ("donation, donor", 30, 100),
    ):
        _, p99, longest, *_ = seen.taken[row].figures()
        found.append(Target(f"{row}: p99", p99, p99_ms, unit="ms"))
        if longest_ms is not None:
            found.append(Target(f"{row}: longest", longest, longest_ms, unit="ms"))
    donor_p50 = seen.taken["donation, donor"].figures()[0]
    found.append(Target("donation, donor: p50", donor_p50, 5, unit="ms"))
    found.append(Target("repair: how long", seen.seconds["repair"], 20, unit="s"))
    return found


# ---- what the nodes have to do ------------------------------------------------------------------


def _donate(seen: Seen, size: Size, first: BenchNode, second: BenchNode) -> None:
    _fill(first, size.sessions)
    first.start_agent()
    wait_until(lambda: first.is_ready(0), "the donor")
    first.attach()

    def is_joined() -> bool:
        # To ask for the status costs the node what it could load sessions in.
        time.sleep(LOOK_S)
        return second.is_ready(1)

    with seen.beside("donation", donor=first):
        second.start_agent()
        wait_until(is_joined, "the new node", DEADLINE_S)
    second.attach()
    _wait_until_same(first, second)
    with seen.beside("nothing", first=first, second=second):
        time.sleep(3.0)


def _load(seen: Seen, size: Size, first: BenchNode, second: BenchNode) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = first.settings, first.home, size.sessions, size.loaded
    with seen.beside("loading", sender=first, receiver=second):
        loader = context.Process(target=load, args=arguments, daemon=True)
        loader.start()
        loader.join()
        if loader.exitcode:
            raise SystemExit("the loader failed")
        last = key(size.sessions + size.loaded - 1)
        wait_until(lambda: second.replica.get(last) is not None, "all that was loaded", DEADLINE_S)
    _wait_until_same(first, second)


def load(settings: Settings, home: NodeHome, start: int, count: int) -> None:
    """Be a process that brings many sessions at once, as an import does."""
    replica, client = open_worker(settings, home)
    now_ms = time.time_ns() // 1_000_000
    creation = BenchNode.creation(now_ms)
    for place in range(start, start + count, PER_COMMIT):
        changes = [
            Change(key(number), now_ms, {"value": VALUE}, creation=creation)
            for number in range(place, min(place + PER_COMMIT, start + count))
        ]
        client.feed_moved(replica.commit(changes, now_ms).head)
    client.close()
    replica.close()


def _repair(seen: Seen, size: Size, first: BenchNode, second: BenchNode) -> None:
    """Take sessions out of a replica behind everybody's back, and wait until they are there."""
    step = size.sessions // size.lacking
    gone = [key(number) for number in range(0, size.sessions, step)]
    with seen.beside("repair", complete=first, lacking=second):
        for start in range(0, len(gone), PER_COMMIT):
            found = [(one, second.replica.get(one)) for one in gone[start : start + PER_COMMIT]]
            second.replica.evict([(one, state) for one, state in found if state is not None])
        wait_until(
            lambda: all(second.replica.get(one) is not None for one in gone), "repair", DEADLINE_S
        )
    _wait_until_same(first, second)


def _catch_up(seen: Seen, size: Size, first: BenchNode, second: BenchNode) -> None:
    assert second.agent is not None
    second.agent.kill()
    second.agent.wait()
    for start in range(0, size.missed, PER_COMMIT):
        now_ms = time.time_ns() // 1_000_000
        numbers = range(start, min(start + PER_COMMIT, size.missed))
        first.replica.commit([Change(key(n), now_ms, {"value": b"new"}) for n in numbers], now_ms)
    last = key(size.missed - 1)

    def is_abreast() -> bool:
        state = second.replica.get(last)
        return state is not None and state.registers["value"].value == b"new"

    second.start_agent()
    wait_until(lambda: second.status()["phase"], "the agent that is back")
    with seen.beside("catching up", holder=first, returned=second):
        wait_until(is_abreast, "what was missed", DEADLINE_S)
        # The writers begin late where little was missed.
        time.sleep(1.0)
    _wait_until_same(first, second)


def _expire(seen: Seen, size: Size, first: BenchNode, second: BenchNode) -> None:
    now_ms = time.time_ns() // 1_000_000
    begin_ms = now_ms + int(size.sessions * size.lead_per_session_s * 1000) + 5_000
    _fill(first, size.sessions, begin_ms, size.expiring_s)
    page = first.replica.snapshot("", 2**18)
    second.replica.merge(page.sessions, now_ms)
    while not page.done:
        page = first.replica.snapshot(page.next_key, 2**18)
        second.replica.merge(page.sessions, now_ms)
    for node in (first, second):
        # A node that comes back with what it had: nothing is loaded.
        node.replica.save_note("loaded", b"by the benchmark")
        node.start_agent()
        wait_until(lambda n=node: n.status()["phase"], "an agent")
        node.attach()
    second.replica.inherit({first.replica.node: page.cursors[first.replica.node]})
    wait_until(lambda: first.is_ready(1), "two nodes to meet")
    left_s = begin_ms / 1000 - time.time()
    print(f"    filled, {left_s:.1f} s before the first session expires", flush=True)
    time.sleep(max(0.0, left_s))
    with seen.beside("expiry", first=first, second=second):
        wait_until(
            lambda: all(
                n.replica.stats().sessions <= 2 * OWN_SESSIONS for n in (first, second)
            ), "the last session to go", DEADLINE_S,
        )


def _fill(
    node: BenchNode, count: int, expires_ms: int | None = None, within_s: float = 0.0
) -> None:
    """Commit so many sessions where there is no agent yet; they expire one after the other."""
    started_s = time.perf_counter()
    now_ms = time.time_ns() // 1_000_000
    creation = node.creation(now_ms)
    for start in range(0, count, PER_FILL):
        changes = []
        for number in range(start, min(start + PER_FILL, count)):
            if expires_ms is not None:
                deadline_ms = expires_ms + int(number / count * within_s * 1000)
                creation = Creation(now_ms, deadline_ms, 86_400_000)
            changes.append(Change(key(number), now_ms, {"value": VALUE}, creation=creation))
        node.replica.commit(changes, now_ms)
    print(f"    {count:,} sessions in {time.perf_counter() - started_s:.1f} s", flush=True)


def _wait_until_same(first: BenchNode, second: BenchNode) -> None:
    wait_until(
        lambda: first.replica.digests() == second.replica.digests(), "equal copies", DEADLINE_S
    )


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    size = Size(count, loaded=count // 10, missed=min(count // 2, 50_000), expiring_s=60.0)
    print(as_text(measure(size)))
