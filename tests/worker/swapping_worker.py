"""A worker whose threads take the steps of one session: ``swapping_worker.py <cookie> <steps>``.

Settings come from the environment. Prints the steps that its threads were told to have taken.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from clustersession.worker.runtime import Runtime
from tests.worker.thread_nodes import opened

THREADS = 8


def main(cookie: str, steps: int) -> None:
    """Have each thread try each step, by what it believes and not by what it has read."""
    runtime = Runtime.from_options({})
    manager = runtime.manager()

    def taken(_: int) -> list[int]:
        session = opened(manager, cookie)
        mine = []
        while (step := session["step"]) < steps:
            if session.swap("step", step, step + 1):
                mine.append(step)
        return mine

    print(flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(THREADS) as pool:
        print(json.dumps([step for mine in pool.map(taken, range(THREADS)) for step in mine]))
    runtime.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
