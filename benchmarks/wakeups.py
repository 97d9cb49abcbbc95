"""What it costs to wake another process, which is what an acknowledged write does six times.

    python -m benchmarks.wakeups [ROUNDS]

Two processes send one byte to and fro over a unix socket, blocking. Half of a round is one wake-up:
the system call that sends, the scheduler, and the return of the call that waited. On processors of
their own each time one that sleeps has to be woken; on a shared one they take turns.
"""

import os
import socket
import sys
import time
from statistics import median


def measure(rounds: int, processors: tuple[int, int]) -> tuple[float, float]:
    """Median and 99th percentile of half a round, in microseconds."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {processors[1]})
        ours.close()
        while theirs.recv(1):
            theirs.send(b"x")
        os._exit(0)
    theirs.close()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processors[0]})
    taken = []
    for _ in range(rounds):
        started_ns = time.perf_counter_ns()
        ours.send(b"x")
        ours.recv(1)
        taken.append((time.perf_counter_ns() - started_ns) / 2000)
    ours.close()
    os.waitpid(child, 0)
    os.sched_setaffinity(0, before)
    return median(taken), sorted(taken)[len(taken) * 99 // 100]


def main() -> None:
    """Print one line for each way to place the two."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    first, *others = sorted(os.sched_getaffinity(0))
    places = {"on one processor": (first, first)}
    if others:
        places["on two processors"] = (first, others[0])
    for name, processors in places.items():
        middle, late = measure(rounds, processors)
        print(f"{name:<18} a wake-up takes {middle:.1f} us, 99th percentile {late:.1f} us")


if __name__ == "__main__":
    main()
