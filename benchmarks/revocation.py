"""How long after ``end_all`` a user's 4 sessions on 3 nodes are served nowhere.

    python -m benchmarks.revocation [rounds]

Each round logs a user in four times, on all three nodes, waits until every node has the four
sessions, and ends them on one node. Printed is the time from the call until the last session has
ended on the last node, and how long the call itself took, with ``ack="one"``.
"""

import secrets
import sys
import time

from benchmarks.nodes import BenchNode, bench_nodes, percentiles, wait_until
from clustersession.core.state import PRINCIPAL, Change, Creation
from clustersession.session.manager import SessionManager
from clustersession.session.token import id_signer

SESSIONS, NODES = 4, 3
LOOK_S = 0.00005
DEADLINE_S = 10.0


def main(rounds: int = 200) -> None:
    """Measure and print, in milliseconds."""
    with bench_nodes(NODES) as nodes:
        for node in nodes:
            node.start_agent()
            node.attach()
        for node in nodes:
            wait_until(lambda n=node: n.is_ready(NODES - 1), "all nodes")
        lags, calls = [], []
        for number in range(rounds):
            lag_ms, call_ms = _round(nodes, f"user {number}", nodes[number % NODES])
            lags.append(lag_ms)
            calls.append(call_ms)
            time.sleep(0.005)
        print(f"{SESSIONS} sessions on {NODES} nodes, {rounds} rounds, milliseconds")
        print(f"ended on the last node  {percentiles(lags)}")
        print(f"end_all(), ack=one      {percentiles(calls)}")


def _round(nodes: list[BenchNode], user: str, where: BenchNode) -> tuple[float, float]:
    for number in range(SESSIONS):
        _login(nodes[number % NODES], user)
    for node in nodes:
        wait_until(lambda n=node: len(n.replica.sessions_of(user)) == SESSIONS, "the sessions")
    assert where.client is not None
    signer = id_signer(where.settings.secret, where.settings.cluster_name)
    manager = SessionManager(
        where.settings, where.replica, signer,
        where.client, wall_ms=_now_ms, random_bytes=secrets.token_bytes,
    )
    sessions = manager.sessions()
    started_s = time.perf_counter()
    assert sessions.end_all(user) == SESSIONS
    called_s = time.perf_counter()
    assert not manager.counters.unconfirmed, "nobody confirmed"
    while any(node.replica.sessions_of(user) for node in nodes):
        assert time.perf_counter() - started_s < DEADLINE_S, "a session never ended"
        time.sleep(LOOK_S)
    return 1000 * (time.perf_counter() - started_s), 1000 * (called_s - started_s)


def _login(node: BenchNode, user: str) -> None:
    now_ms = _now_ms()
    creation = Creation(now_ms, now_ms + 3_600_000, 1_800_000)
    change = Change(
        "1" + secrets.token_hex(11), now_ms, {PRINCIPAL: user.encode()}, creation=creation
    )
    assert node.client is not None
    node.client.feed_moved(node.replica.commit([change], now_ms).head)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
