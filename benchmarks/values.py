"""Costs of one ``append`` to a list of 10, 1,000 and 10,000 items, plain and merging.

    python -m benchmarks.values [REQUESTS]

One process on a node alone, called without a server: each request opens the session, appends and
commits. The median of processor time over REQUESTS requests (default 31), so that others on the
machine matter little; and the bytes of what a peer would be sent for the last one.
"""

import statistics
import sys
import tempfile
import time
from typing import Any

from clustersession import MergingList
from clustersession.core.state import delta_since
from clustersession.session.visit import visit_of
from clustersession.wire.records import encode_delta
from clustersession.wsgi import ClusterSessionMiddleware

SIZES = (10, 1_000, 10_000)


def _item(number: int) -> dict[str, Any]:
    return {"id": number, "name": f"item {number}"}


def measure(kind: type, size: int, requests: int) -> tuple[float, int]:
    """Return the microseconds of one append, and the bytes that it sends."""
    with tempfile.TemporaryDirectory() as directory:
        app = ClusterSessionMiddleware(
            lambda environ, start: [], state_dir=directory, session_bytes_max=8 * 2**20,
            attribute_bytes_max=4 * 2**20,
        )
        manager = app.runtime.manager()
        visit = manager.open([])
        visit.session["list"] = kind(map(_item, range(size)))
        manager.commit(visit)
        cookie = f"{visit.identifier}.{manager.cluster.route}"
        took_us: list[float] = []
        for number in range(requests):
            floor = manager.replica.head()
            began_s = time.process_time()
            session = manager.open([cookie]).session
            session["list"].append(_item(size + number))
            manager.commit(visit_of(session))
            took_us.append(1e6 * (time.process_time() - began_s))
        key = visit.key
        assert key is not None
        state = manager.replica.get(key)
        assert state is not None
        assert manager.replica.head() == floor + 1
        sent = len(encode_delta(delta_since(key, state, manager.replica.node, floor)))
        app.runtime.close()
    return statistics.median(took_us), sent


def main() -> None:
    """Print one line for each size."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 31
    print("items   plain µs  bytes sent   merging µs  bytes sent")
    for size in SIZES:
        plain_us, plain_bytes = measure(list, size, requests)
        merging_us, merging_bytes = measure(MergingList, size, requests)
        print(
            f"{size:6,}  {plain_us:8,.0f}  {plain_bytes:10,}"
            f"   {merging_us:10,.0f}  {merging_bytes:10,}"
        )


if __name__ == "__main__":
    main()
