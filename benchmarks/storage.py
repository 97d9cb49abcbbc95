"""What 100,000 sessions take: on disk and in memory, and in redis-server beside it.

    python -m benchmarks storage

Bytes per session of the replica's file, of which every process on the host sees the same pages;
Redis's own count (``used_memory``) and what the kernel says. Redis holds each payload as one string
with an expiry, as the session libraries keep it.
"""

import re
from pathlib import Path

from benchmarks.nodes import bench_nodes, key, wait_until
from benchmarks.redis_servers import redis_servers
from benchmarks.result import Cell, Chart, Result, Table, Target
from benchmarks.snapshot import fill

PAYLOADS_BYTES = (200, 1024)
BATCH = 500
AGENT_MIB_MAX = 60
OVER_REDIS_MAX = 1.3


def run(small: bool) -> Result:
    """Both sizes of sessions."""
    result = Result("Memory and disk")
    count = 20_000 if small else 100_000
    rows: list[list[Cell]] = []
    ours, theirs = [], []
    for payload_bytes in PAYLOADS_BYTES:
        with bench_nodes(1) as (node,):
            empty = node.replica.stats().bytes_used
            fill(node, count, payload_bytes)
            stats = node.replica.stats()
            if stats.sessions != count:
                raise SystemExit(f"{stats.sessions} of {count} sessions")
            disk = sum(p.stat().st_blocks * 512 for p in node.home.replica.rglob("*"))
            node.start_agent()
            wait_until(lambda n=node: n.is_ready(0), "the agent")
            for number in range(0, count, 100):
                assert node.replica.get(key(number)) is not None
            memory = node.memory_kib()
        per_session = (stats.bytes_used - empty) / count
        redis_used, redis_rss = _redis(count, payload_bytes)
        ours.append(per_session)
        theirs.append(redis_used)
        rows += [
            [f"clustersession, {payload_bytes} B", per_session, disk / count,
             per_session / redis_used, memory["VmRSS"] / 1024, memory["RssAnon"] / 1024],
            [f"Redis, {payload_bytes} B", redis_used, redis_rss, 1.0, None, None],
        ]
        if payload_bytes == PAYLOADS_BYTES[-1]:
            result.targets += [
                Target("1 KiB sessions over Redis's", per_session / redis_used, OVER_REDIS_MAX),
                Target("agent resident", memory["VmRSS"] / 1024, AGENT_MIB_MAX, unit="MiB"),
            ]
    columns = ("", "bytes/session", "on disk, Redis: resident", "over Redis", "agent resident MiB",
               "of that its own")
    result.tables.append(Table(f"{count:,} sessions", columns, rows))
    result.charts.append(Chart(
        "A session takes", "bytes", [f"{size} B" for size in PAYLOADS_BYTES],
        {"clustersession": ours, "Redis": theirs},
    ))
    return result


def _redis(count: int, payload_bytes: int) -> tuple[float, float]:
    """Bytes per session: by its own count, and resident."""
    with redis_servers(1) as (server,):
        before = server.info("used_memory"), _resident_bytes(server.process.pid)
        for start in range(0, count, BATCH):
            numbers = range(start, min(start + BATCH, count))
            server.send(*[
                ("SET", f"session:{key(n)}", b"x" * payload_bytes, "EX", "86400") for n in numbers
            ])
            for _ in numbers:
                server.answer()
        if server.ask("DBSIZE") != count:
            raise SystemExit("Redis lacks some sessions")
        after = server.info("used_memory"), _resident_bytes(server.process.pid)
    return (after[0] - before[0]) / count, (after[1] - before[1]) / count


def _resident_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) * 1024
