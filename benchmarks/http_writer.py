"""A worker of a node that writes sessions until it is told to stop: load for the other nodes.

    python -m benchmarks.http_writer WRITES_PER_S

Settings come from the environment. Prints, at the end, how many it wrote each second.
"""

import signal
import sys
import time

from clustersession.worker.runtime import Runtime

SESSIONS = 1000


def main(writes_per_s: int) -> None:
    """Change one key of each of SESSIONS sessions in turn, in bursts of 5 ms."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    runtime = Runtime.from_options({})
    runtime.start()
    manager = runtime.manager()
    values = []
    for number in range(SESSIONS):
        visit = manager.open(())
        session = visit.session
        session.update(user="ann", visits=number, cart=["tea"])
        values.append(str(manager.commit(visit).set_cookie).partition("=")[2].partition(";")[0])
    print("ready", flush=True)
    written, started_s = 0, time.perf_counter()
    while not stopped:
        due = int((time.perf_counter() - started_s) * writes_per_s)
        for number in range(written, min(due, written + 200)):
            visit = manager.open((values[number % SESSIONS],))
            session = visit.session
            session["visits"] = number
            manager.save(visit)
            written += 1
        time.sleep(0.005 if written >= due else 0)
    print(round(written / (time.perf_counter() - started_s)), flush=True)
    runtime.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
