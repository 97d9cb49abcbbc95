"""Three nodes behind HAProxy, restarted one after another under constant load, and a table.

    python -m tests.rolling.run [--rounds 2] [--only uvicorn] [--json FILE]

The browsers are those of the faults: every write is an attribute of its own, and what they were
told is judged against what the nodes hold afterwards. Exits with 1 when an acknowledged write is
lost or a user got a new session. Errors that clients saw are counted, and the columns say which.
"""

import argparse
import contextlib
import itertools
import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clustersession.admin.demo_nodes import ClusterPorts, Node, make_node
from tests.faults.client import Load, read
from tests.faults.cluster import pause
from tests.faults.history import GHOST, Operation, Outcome
from tests.faults.judge import Verdict, ids_of, judge
from tests.support.apps import ROOT
from tests.support.balancers import haproxy
from tests.support.processes import wait_for
from tests.system.client import agent_status, get

ROUTES = ("tomcat1", "tomcat2", "tomcat3")
WORKERS = 2
DRAIN_S = 4
STOPPED_WITHIN_S = 40.0
LOAD = {"browsers": 8, "pause_s": 0.02, "padding_bytes": 20}
NEVER = ("lost", "resurrected", "invented", "swapped", "vanished", "disagreements")
SHOWN_MAX = 5
READY_PATH = "/-/ready"
_BIND = "127.0.0.1:{port}"
SERVERS = {
    "uvicorn": (
        "uvicorn", "--workers", str(WORKERS), "--host", "127.0.0.1", "--port", "{port}",
        "--no-access-log", "--log-level", "warning", "--timeout-worker-healthcheck", "8",
        "tests.faults.app:over_asgi",
    ),
    "gunicorn gthread": (
        "gunicorn", "-w", str(WORKERS), "-k", "gthread", "--threads", "4", "-b", _BIND,
        "--no-control-socket", "-c", "python:tests.faults.app", "tests.faults.app:over_wsgi",
    ),
    "gunicorn uvicorn": (
        "gunicorn", "-w", str(WORKERS), "-k", "uvicorn.workers.UvicornWorker", "-b", _BIND,
        "--no-control-socket", "tests.faults.app:over_asgi",
    ),
}
WAYS = {
    "SIGTERM": "the server's graceful stop",
    "SIGTERM, drain": f"the same with drain_on_stop_s={DRAIN_S}",
    "kill -9": "every process of the node, agent included",
}


@dataclass(slots=True)
class Result:
    """One server restarted in one way. ``failures`` is empty when everything promised held."""

    server: str
    way: str
    restarts: int
    requests: int
    verdict: Verdict
    errors: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def nodes_behind_haproxy(
    server: str, directory: Path, settings: dict[str, str]
) -> Iterator[tuple[list[Node], int]]:
    """Three nodes that have found each other, and the balancer's port."""
    ports = ClusterPorts()
    command = [sys.executable, "-m", *SERVERS[server]]
    environment = {"CLUSTERSESSION_READY_PATH": READY_PATH, **settings}
    with contextlib.ExitStack() as cleanup:
        nodes = [
            make_node(
                route, directory, ports, command, app_directory=ROOT, environment=environment
            )
            for route in ROUTES
        ]
        for node in nodes:
            cleanup.callback(node.stop)
            node.start()
        for node in nodes:
            wait_until_back(node)
        balancer = cleanup.enter_context(haproxy(nodes, directory))
        yield nodes, balancer.port


def wait_until_back(node: Node) -> None:
    """What an operator waits for: ready, all workers there, and the others seen."""
    def back() -> bool:
        with contextlib.suppress(OSError):
            get(node, "/hello")
        seen = agent_status(node)
        alive = [m for m in seen["members"] if m["status"] == "alive" and m["serving"]]
        return (
            seen["phase"] == "ready" and len(alive) == len(ROUTES) - 1
            and len(seen["workers"]) == WORKERS
        )

    wait_for(back, f"{node.route} to be back", 40.0)


def restart(node: Node, way: str) -> None:
    """Stop it in that way, and start it again."""
    if way == "kill -9":
        node.kill()
    else:
        assert node.program.process is not None
        node.program.process.send_signal(signal.SIGTERM)
        node.program.process.wait(STOPPED_WITHIN_S)
    node.start()
    wait_until_back(node)


def roll(server: str, way: str, ways: Sequence[str], directory: Path) -> Result:
    """Restart one node after another under load, each in its way; judge what clients saw.

    ``way`` names the whole; where it says so, the nodes drain on SIGTERM.
    """
    settings = {"CLUSTERSESSION_DRAIN_ON_STOP_S": str(DRAIN_S)} if "drain" in way else {}
    with nodes_behind_haproxy(server, directory, settings) as (nodes, port):
        load = Load({"nodes": {"balancer": ("127.0.0.1", port)}, **LOAD})
        try:
            pause(1.0)
            for node, its_way in zip(itertools.cycle(nodes), ways, strict=False):
                restart(node, its_way)
                # The balancer's health check needs to see it before the next one goes.
                pause(1.5)
        finally:
            told = load.stop()
        history = [Operation.from_json(plain) for plain in told]
        for node in nodes:
            wait_until_back(node)
        identifiers = ids_of(history)
        reads = {
            node.route: dict(zip(
                identifiers, read(("127.0.0.1", node.port), identifiers), strict=True
            ))
            for node in nodes
        }
    verdict = judge(history, reads)
    result = Result(server, way, len(ways), len(history), verdict)
    result.errors.update(
        f"{o.status}" if o.outcome is Outcome.ERROR else "no answer"
        for o in history
        if o.outcome in (Outcome.ERROR, Outcome.UNKNOWN, Outcome.REFUSED) and o.kind != GHOST
    )
    for name in NEVER:
        if cases := getattr(verdict, name):
            result.failures.append(f"{len(cases)} {name}: {'; '.join(cases[:SHOWN_MAX])}")
    if verdict.unstored:
        result.failures.append(f"{verdict.unstored} unstored")
    return result


COLUMNS = (
    ("server", 16), ("way", 14), ("restarts", 8), ("requests", 8), ("acked", 6),
    ("new session", 11), ("lost", 4), ("other", 5), ("seen errors", 24), ("slowest s", 9),
)


def row(result: Result) -> list[str]:
    """One line of the table."""
    verdict = result.verdict
    other = sum(len(getattr(verdict, n)) for n in NEVER if n not in ("lost", "vanished"))
    errors = ", ".join(f"{n} x {what}" for what, n in sorted(result.errors.items())) or "0"
    return [
        result.server, result.way, str(result.restarts), str(result.requests),
        str(verdict.acknowledged), str(len(verdict.vanished)), str(len(verdict.lost)),
        str(other + verdict.unstored), errors, f"{verdict.worst_latency_s:.2f}",
    ]


def line(cells: Sequence[str]) -> str:
    """Cells under each other."""
    return " | ".join(c.ljust(w) for c, (_, w) in zip(cells, COLUMNS, strict=True))


def main() -> int:
    """Every server in every way; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.rolling.run")
    parser.add_argument("--rounds", type=int, default=2, help="restarts of each node")
    parser.add_argument("--only", action="append", choices=list(SERVERS))
    parser.add_argument("--way", action="append", choices=list(WAYS))
    parser.add_argument("--json", help="write the table to this file")
    options = parser.parse_args()
    results = []
    print(line([name for name, _ in COLUMNS]), flush=True)
    for server in options.only or SERVERS:
        for way in options.way or WAYS:
            with tempfile.TemporaryDirectory(prefix="clustersession-rolling-") as directory:
                ways = [way] * len(ROUTES) * options.rounds
                result = roll(server, way, ways, Path(directory))
            results.append(result)
            print(line(row(result)), flush=True)
            for failure in result.failures:
                print(f"#   {failure}", flush=True)
    if options.json:
        names = [name for name, _ in COLUMNS]
        table = [dict(zip(names, row(result), strict=True)) for result in results]
        Path(options.json).write_text(json.dumps(table, indent=1))
    return 1 if any(result.failures for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
