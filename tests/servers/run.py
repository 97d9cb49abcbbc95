"""Prints the table of servers and scenarios, every cell a run.

    python -m tests.servers.run [--only gunicorn-gevent] [--scenario kill] [--keep DIRECTORY]

Exits with 1 when a cell failed. "cut" are requests whose connection ended without an answer,
"refused" those that nobody accepted.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from clustersession.tools.demo.processes import StepFailed
from tests.servers.registry import SERVERS
from tests.servers.scenarios import SCENARIOS, play


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Put every server through every scenario.")
    parser.add_argument("--only", action="append", help="a server's name, or its beginning")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS))
    parser.add_argument("--keep", type=Path, help="where to leave logs and state")
    options = parser.parse_args()
    servers = [
        server for server in SERVERS
        if not options.only or any(server.name.startswith(part) for part in options.only)
    ]
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="servers-") as temporary:
        base = options.keep or Path(temporary)
        for server in servers:
            for scenario in options.scenario or SCENARIOS:
                if why := server.lacks.get(scenario):
                    print(f"{server.name:24} {scenario:8} n/a           {why}", flush=True)
                    continue
                directory = base / f"{server.name}-{scenario}"
                directory.mkdir(parents=True)
                began_s = time.monotonic()
                try:
                    verdict, said = "ok", play(server, scenario, directory)
                except StepFailed as error:
                    verdict, said = "FAILED", str(error).splitlines()[0]
                    failures.append(str(error))
                took_s = time.monotonic() - began_s
                print(
                    f"{server.name:24} {scenario:8} {verdict:6} {took_s:4.0f} s  {said}", flush=True
                )
    for failure in failures:
        print(f"\n=== {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
