"""A worker without a server: settings from the environment, one session, a write for each line.

    python -m tests.lifecycle.worker

Prints its route once it is attached to an agent, then for each line the counter of the session. A
node that cannot work here ends it with the reason on standard error.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from clustersession.core.errors import ClusterSessionError
from clustersession.worker.runtime import Runtime


class Worker:
    """The process, as seen by a test. ``inside``: what it is started through, like ``unshare``."""

    def __init__(
        self, environment: dict[str, str], inside: Sequence[str] = (), *, log: Path | None = None
    ) -> None:
        with open(log or os.devnull, "ab") as errors:
            self.process = subprocess.Popen(
                [*inside, sys.executable, "-m", "tests.lifecycle.worker"], env=environment,
                text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )

    def first_word(self) -> str:
        """Its route, or nothing when it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def count(self) -> int:
        """One request that writes."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def stop(self) -> None:
        """Kill it and let go of its pipes."""
        self.process.kill()
        self.process.communicate()


def main() -> None:
    """Serve the lines."""
    runtime = Runtime.from_options({"distributable": True})
    try:
        runtime.start()
    except ClusterSessionError as error:
        sys.exit(str(error))
    manager = runtime.manager()
    cookie = None
    print(manager.cluster.route, flush=True)
    for _ in sys.stdin:
        visit = manager.open([cookie] if cookie else [])
        session = visit.session
        session["n"] = session.get("n", 0) + 1
        given = manager.commit(visit).set_cookie
        if given:
            cookie = given.partition("=")[2].partition(";")[0]
        print(session["n"], flush=True)
    runtime.close()


if __name__ == "__main__":
    main()
