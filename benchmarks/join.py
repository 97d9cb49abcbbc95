"""A node joins a cluster that holds many sessions: time to ready, and memory of both agents.

    python -m benchmarks.join [sessions ...]
"""

import sys
import time

from benchmarks.nodes import bench_nodes, key, wait_until
from clustersession.core.state import Change, Creation

ATTRIBUTES = 5
VALUE = b"\xa8" + b"x" * 40
PER_COMMIT = 500


def main(*counts: int) -> None:
    """Measure and print."""
    for count in counts or (10_000, 100_000):
        with bench_nodes(2) as (donor, joiner):
            now_ms = time.time_ns() // 1_000_000
            creation = Creation(now_ms, now_ms + 86_400_000, 1_800_000)
            values = {f"attribute{n}": VALUE for n in range(ATTRIBUTES)}
            for start in range(0, count, PER_COMMIT):
                numbers = range(start, min(start + PER_COMMIT, count))
                donor.replica.commit(
                    [Change(key(n), now_ms, values, creation=creation) for n in numbers], now_ms
                )
            donor.start_agent()
            wait_until(lambda: donor.is_ready(0), "the donor")
            before = donor.memory_kib()
            started_s = time.perf_counter()
            joiner.start_agent()
            wait_until(lambda: joiner.is_ready(1), "the joiner", 600)
            ready_s = time.perf_counter() - started_s
            found = joiner.replica.stats().sessions
            assert found == count, f"ready with {found} of {count} sessions"
            assert joiner.replica.digests() == donor.replica.digests(), "copies differ"
            print(
                f"{count:>8} sessions of {ATTRIBUTES} attributes: ready after {ready_s:.2f} s, "
                "process start included; "
                f"replica {donor.replica.stats().bytes_used / 2**20:.0f} MiB"
            )
            for name, node in (("donor", donor), ("joiner", joiner)):
                memory = node.memory_kib()
                print(
                    f"         {name:<6} peak resident {memory['VmHWM'] / 1024:.0f} MiB, of that "
                    f"its own {memory['RssAnon'] / 1024:.0f} MiB, the map "
                    f"{memory['RssFile'] / 1024:.0f} MiB"
                )
            print(f"         donor before: own {before['RssAnon'] / 1024:.0f} MiB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
