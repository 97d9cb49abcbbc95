"""A node joins a cluster that holds many sessions: time, memory, and what the donor's users notice.

    python -m benchmarks snapshot

Sessions of one attribute of 200 bytes. ``own`` memory is what the kernel calls anonymous: the map
of the replica's file is page cache. The donor's users are one worker beside its agent that reads a
session, writes it and tells the agent, 200 times a second; before the join and while it lasts.
"""

import multiprocessing
import time
from multiprocessing.connection import Connection

from benchmarks.nodes import BenchNode, bench_nodes, key, open_worker, p50_p99_max, wait_until
from benchmarks.result import Cell, Chart, Result, Table, Target
from clustersession.core.state import Change
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings

PAYLOAD_BYTES = 200
PER_COMMIT = 500
REQUESTS_PER_S = 200
BEFORE_S = 3.0
LOOK_LOADING_S = 0.05
LIMITS_S = {100_000: 3.0, 1_000_000: 40.0}
OWN_GROWTH_MIB_MAX = 64
COLUMNS = ("sessions", "ready s", "donor own MiB", "donor grew", "joiner own MiB", "joiner grew",
           "donor CPU s", "joiner CPU s", "request p50 ms", "p99 before", "p99 donating",
           "replica MiB")


def run(small: bool) -> Result:
    """10,000, 100,000 and, unless small, a million."""
    result = Result("Snapshot")
    counts = (10_000, 100_000) if small else (10_000, 100_000, 1_000_000)
    rows: list[list[Cell]] = []
    for count in counts:
        rows.append(_join(result, count))
    result.tables.append(Table("A node joins", COLUMNS, rows))
    result.charts.append(Chart(
        "A node joins", "seconds to ready", [f"{count:,}" for count in counts],
        {"clustersession": [float(row[1] or 0) for row in rows]}, log=True,
    ))
    return result


def fill(node: BenchNode, count: int, payload_bytes: int) -> None:
    """So many sessions, committed where there is no agent yet."""
    now_ms = time.time_ns() // 1_000_000
    creation, values = node.creation(now_ms), {"value": b"x" * payload_bytes}
    for start in range(0, count, PER_COMMIT):
        numbers = range(start, min(start + PER_COMMIT, count))
        node.replica.commit(
            [Change(key(n), now_ms, values, creation=creation) for n in numbers], now_ms
        )


def _join(result: Result, count: int) -> list[Cell]:
    with bench_nodes(2, ack="none", join_timeout_s=600) as (donor, joiner):
        fill(donor, count, PAYLOAD_BYTES)
        donor.start_agent()
        wait_until(lambda: donor.is_ready(0), "the donor")
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        users = context.Process(
            target=_requests, args=(theirs, donor.settings, donor.home, count), daemon=True
        )
        users.start()
        ours.recv()
        time.sleep(BEFORE_S)
        donor_kib, donor_cpu_s = donor.memory_kib()["RssAnon"], donor.cpu_s()
        ours.send("joining")
        started_s = time.perf_counter()
        joiner.start_agent()
        # An agent that has joined nothing yet: what it needs without a single session.
        joiner_kib = 0
        peaks = [donor_kib, 0]

        def ready() -> bool:
            nonlocal joiner_kib
            own_kib = joiner.memory_kib().get("RssAnon", 0)
            peaks[0] = max(peaks[0], donor.memory_kib()["RssAnon"])
            peaks[1] = max(peaks[1], own_kib)
            seen = joiner.status()
            if seen["phase"] and not seen["sessions"]:
                joiner_kib = own_kib
            elif seen["phase"]:
                # To ask for the status costs the joiner what it could load sessions in.
                time.sleep(LOOK_LOADING_S)
            return joiner.is_ready(1)

        wait_until(ready, "the joiner", 600)
        ready_s = time.perf_counter() - started_s
        joiner_cpu_s, donor_cpu_s = joiner.cpu_s(), donor.cpu_s() - donor_cpu_s
        ours.send("joined")
        before, while_donating = ours.recv()
        users.join()
        _require_same(donor, joiner, count)
        replica_mib = donor.replica.stats().bytes_used / 2**20
    donor_grew = (peaks[0] - donor_kib) / 1024
    joiner_grew = (peaks[1] - joiner_kib) / 1024 if joiner_kib else None
    p99s = p50_p99_max(before)[1], p50_p99_max(while_donating)[1]
    name = f"{count:,} sessions"
    if count in LIMITS_S:
        result.targets += [
            Target(f"{name}: ready", ready_s, LIMITS_S[count], unit="s"),
            Target(f"{name}: donor's own memory grew", donor_grew, OWN_GROWTH_MIB_MAX, unit="MiB"),
            Target(f"{name}: joiner's own memory, all of it", peaks[1] / 1024, OWN_GROWTH_MIB_MAX,
                   unit="MiB"),
            Target(f"{name}: donor's request p99, donating over before", p99s[1] / p99s[0], 2.0),
        ]
    return [name, ready_s, peaks[0] / 1024, donor_grew, peaks[1] / 1024, joiner_grew, donor_cpu_s,
            joiner_cpu_s, p50_p99_max(while_donating)[0], *p99s, replica_mib]


def _require_same(donor: BenchNode, joiner: BenchNode, count: int) -> None:
    found = joiner.replica.stats().sessions
    if found != count:
        raise SystemExit(f"ready with {found} of {count} sessions")
    wait_until(lambda: joiner.replica.digests() == donor.replica.digests(), "equal copies")


def _requests(pipe: Connection, settings: Settings, home: NodeHome, sessions: int) -> None:
    """The donor's users, in a process of their own; sends the milliseconds before and during."""
    replica, client = open_worker(settings, home)
    taken: tuple[list[float], list[float]] = ([], [])
    during, number = 0, 0
    pipe.send("ready")
    while True:
        if pipe.poll():
            if pipe.recv() == "joined":
                break
            during = 1
        number += 1
        now_ms = time.time_ns() // 1_000_000
        session_key = key(number * 7919 % sessions)
        started_s = time.perf_counter()
        assert replica.get(session_key) is not None
        committed = replica.commit([Change(session_key, now_ms, {"n": b"%d" % number})], now_ms)
        client.feed_moved(committed.head)
        taken[during].append((time.perf_counter() - started_s) * 1000)
        time.sleep(1 / REQUESTS_PER_S)
    client.close()
    pipe.send(taken)
