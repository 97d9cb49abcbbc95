"""When a write on one host can be seen on another, with a store between them.

    python -m benchmarks store_visible [--small] [--valkey]

Ours by reads in a loop on the second host. What people use reads Redis in each request, so that a
write is visible at once, at the price of that read: it stands beside.
"""

from statistics import median

from benchmarks.lag import SESSIONS, lag
from benchmarks.nodes import key, p50_p99_max
from benchmarks.result import Cell, Result, Table
from benchmarks.store_request import RIVALS, STORE_NONE, environments
from benchmarks.store_subject import subjects
from benchmarks.stores import store_nodes, store_server

WRITES = 1000
PAUSE_S = 0.002


def run(small: bool) -> Result:
    """Ours, and then the others' reads."""
    writes, calls = (2 * SESSIONS, 100) if small else (WRITES, 3000)
    result = Result("Visible on another host")
    with store_server() as store, store_nodes(store, 2, ack="none") as nodes:
        first, second = nodes
        for node in nodes:
            node.attach()
        assert first.client is not None
        assert second.client is not None
        for number in range(SESSIONS):
            assert first.client.confirm(first.write(key(number), b"-", create=True))
            # The first request for a session there has it fetched; from then on it is followed.
            assert second.client.fetch(key(number))
        rows: list[list[Cell]] = [
            [f"pause of {pause_s * 1000:.0f} ms", *p50_p99_max(lag(first, second, writes, pause_s))]
            for pause_s in (0.0, PAUSE_S)
        ]
        title = f"From a commit to the other host's replica, {writes:,} writes, milliseconds"
        result.tables.append(Table(title, ("", "p50", "p99", "max"), rows))
        costs: list[list[Cell]] = []
        known = environments(store, {STORE_NONE: first})
        for framework, rivals in RIVALS.items():
            for name in rivals:
                kinds = {each: known[each] for each in ("bare", name)}
                with subjects(framework, kinds) as running:
                    running[name].ask("fill", 1, 1)
                    base = median(running["bare"].series("/untouched", calls))
                    taken = running[name].series("/read", calls)
                p50, p99, most = ((each - base) / 1000 for each in p50_p99_max(taken))
                costs.append([f"{framework}, {name}", p50, p99, most])
        title = "What the others' reads add to each request, 1 KiB, microseconds"
        result.tables.append(Table(title, ("", "p50", "p99", "max"), costs))
    return result
