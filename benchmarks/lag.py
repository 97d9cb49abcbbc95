"""What a confirmation costs, and when a write on node 1 can be seen on node 2.

    python -m benchmarks.lag [writes]

For each carrier, and for writes back to back and with a pause: the time ``ack="one"`` adds to a
write, and the time from a commit nobody waits for (``ack="none"``) until the other replica has it.
"""

import sys
import time

from benchmarks.nodes import BenchNode, bench_nodes, key, percentiles, wait_until

SESSIONS = 100
PAUSE_S = 0.002
LOOK_S = 0.00005


def main(writes: int = 2000) -> None:
    """Measure and print, in milliseconds."""
    for carrier in ("tcp", "multicast"):
        with bench_nodes(2, carrier=carrier) as (first, second):
            for node in (first, second):
                node.start_agent()
                node.attach()
            for node in (first, second):
                wait_until(lambda n=node: n.is_ready(1), "both nodes")
            for number in range(SESSIONS):
                first.write(key(number), b"-", create=True)
            confirm(first, second, SESSIONS, 0.0)
            for pause_s in (0.0, PAUSE_S):
                how = f"{carrier:<9} pause {pause_s * 1000:.0f} ms"
                added = percentiles(confirm(first, second, writes, pause_s))
                print(f"{how}  ack=one adds      {added} ms")
                lags = percentiles(lag(first, second, writes, pause_s))
                print(f"{how}  visible elsewhere {lags} ms")
            print(f"{carrier:<9} carrier in use: {first.status()['carrier']}")


def confirm(first: BenchNode, second: BenchNode, writes: int, pause_s: float) -> list[float]:
    """Milliseconds that waiting for one peer took; the peer must then hold the write."""
    assert first.client is not None
    port = first.client
    taken = []
    for number in range(writes):
        value = b"%d" % number
        head = first.write(key(number % SESSIONS), value)
        started_s = time.perf_counter()
        confirmed = port.confirm(head)
        taken.append((time.perf_counter() - started_s) * 1000)
        assert confirmed, "nobody confirmed"
        assert seen(second, key(number % SESSIONS)) == value, "confirmed and not there"
        time.sleep(pause_s)
    return taken


def lag(first: BenchNode, second: BenchNode, writes: int, pause_s: float) -> list[float]:
    """Milliseconds from a commit nobody waits for until the other node has it."""
    assert first.client is not None
    port = first.client
    taken = []
    for number in range(writes):
        value = b"lag %d" % number
        started_s = time.perf_counter()
        port.feed_moved(first.write(key(number % SESSIONS), value))
        while seen(second, key(number % SESSIONS)) != value:
            assert time.perf_counter() - started_s < 10, "the write never arrived"
            # A spinning reader would take a core away from the agents.
            time.sleep(LOOK_S)
        taken.append((time.perf_counter() - started_s) * 1000)
        time.sleep(pause_s)
    return taken


def seen(node: BenchNode, session_key: str) -> bytes | None:
    """The attribute as the node's replica has it."""
    state = node.replica.get(session_key)
    return None if state is None else state.registers["value"].value


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
