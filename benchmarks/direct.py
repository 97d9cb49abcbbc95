"""What a confirmation costs straight from the worker to a peer, and through two agents.

    python -m benchmarks.direct [writes]

Two nodes on loopback, agents in processes of their own. In one run, by turns, each write is
confirmed by the peer itself, by way of the agents, and, as a floor, a datagram of its size goes to
another process and back. Back to back and with pauses, from a thread and from an event loop. At the
end what a write costs both agents either way.
"""

import asyncio
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.nodes import BenchNode, joined_nodes, key, percentiles

SESSIONS = 100
PAUSES_S = (0.0, 0.001)
DATAGRAM_BYTES = 250


def main(writes: int = 1000) -> None:
    """Measure and print, in milliseconds."""
    with joined_nodes(2, ack="one", carrier="tcp") as (first, second), echo() as floor:
        assert first.client is not None
        for number in range(SESSIONS):
            head = first.write(key(number), b"-", create=True)
        assert first.client.confirm(head)
        time.sleep(1.0)
        for pause_s in PAUSES_S:
            taken = blocking(first, floor, writes, pause_s)
            show(f"thread, pause {pause_s * 1000:.0f} ms", taken)
            taken = asyncio.run(in_loop(first, floor, writes, pause_s))
            show(f"event loop, pause {pause_s * 1000:.0f} ms", taken)
        for way in ("direct", "agents"):
            costs(way, first, second, writes)
        print("changes at the peer:", second.status()["direct"]["changes"])


def show(how: str, taken: dict[str, list[float]]) -> None:
    """One line for each way."""
    for way, times_ms in taken.items():
        print(f"{how:<26} {way:<8} {percentiles(times_ms)} ms")


def blocking(
    first: BenchNode, floor: socket.socket, writes: int, pause_s: float
) -> dict[str, list[float]]:
    """Each way by turns, from this thread."""
    assert first.client is not None
    taken: dict[str, list[float]] = {"direct": [], "agents": [], "floor": []}
    for number in range(writes):
        for way, times_ms in taken.items():
            committed = first.commit(key(number % SESSIONS), b"%d %s" % (number, way.encode()))
            started_s = time.perf_counter()
            if way == "floor":
                floor.send(bytes(DATAGRAM_BYTES))
                floor.recv(DATAGRAM_BYTES)
            else:
                stored = committed.stored if way == "direct" else ()
                assert first.client.confirm(committed.head, stored)
            times_ms.append((time.perf_counter() - started_s) * 1000)
            if way == "floor":
                first.client.confirm(committed.head)
            time.sleep(pause_s)
    return taken


def costs(way: str, first: BenchNode, second: BenchNode, writes: int) -> None:
    """What a write costs both agents: processor time, and how often they slept meanwhile."""
    assert first.client is not None
    before = [used(node) for node in (first, second)]
    for number in range(writes):
        committed = first.commit(key(number % SESSIONS), b"%d %s" % (number, way.encode()))
        stored = committed.stored if way == "direct" else ()
        assert first.client.confirm(committed.head, stored)
        time.sleep(PAUSES_S[-1])
    after = [used(node) for node in (first, second)]
    for whose, (cpu_s, sleeps), (cpu_end_s, sleeps_end) in zip(
        ("its own agent", "the peer's"), before, after, strict=True
    ):
        each_us, slept = 1e6 * (cpu_end_s - cpu_s) / writes, (sleeps_end - sleeps) / writes
        print(f"{way:<8} {whose:<14} {each_us:6.0f} us of processor time, {slept:.2f} sleeps")


def used(node: BenchNode) -> tuple[float, int]:
    """Processor seconds of an agent, and how often it has slept."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    slept = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)
    assert slept is not None
    return node.cpu_s(), int(slept[1])


async def in_loop(
    first: BenchNode, floor: socket.socket, writes: int, pause_s: float
) -> dict[str, list[float]]:
    """Each way by turns, in an event loop."""
    assert first.client is not None
    taken: dict[str, list[float]] = {"direct": [], "agents": []}
    for number in range(writes):
        for way, times_ms in taken.items():
            committed = first.commit(key(number % SESSIONS), b"%d %s" % (number, way.encode()))
            stored = committed.stored if way == "direct" else ()
            started_s = time.perf_counter()
            assert await first.client.confirm_async(committed.head, stored)
            times_ms.append((time.perf_counter() - started_s) * 1000)
            await asyncio.sleep(pause_s)
    return taken


@contextmanager
def echo() -> Iterator[socket.socket]:
    """A socket to a process that sends everything back."""
    theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    theirs.bind(("127.0.0.1", 0))
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.connect(theirs.getsockname())
    pid = os.fork()
    if pid == 0:
        while True:
            data, address = theirs.recvfrom(2048)
            if not data:
                os._exit(0)
            theirs.sendto(data, address)
    try:
        yield ours
    finally:
        ours.send(b"")
        os.waitpid(pid, 0)
        ours.close()
        theirs.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
