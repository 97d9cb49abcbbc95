"""Three nodes behind HAProxy, restarted one after another under constant load, and a table.

    python -m tests.rolling.run [--rounds 2] [--only uvicorn-workers] [--json FILE]

The browsers are those of the faults: every write is an attribute of its own, and what they were
told is judged against what the nodes hold afterwards. Exits with 1 when an acknowledged write is
lost or a user got a new session. Errors that clients saw are counted, and each is explained by
HAProxy's log; one that the log does not explain makes it fail, too.
"""

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node
from tests.faults.client import Load, read
from tests.faults.cluster import pause
from tests.faults.history import Operation, Outcome
from tests.faults.judge import Verdict, ids_of, judge
from tests.rolling.causes import LOG_FORMAT, explain
from tests.servers.registry import BY_NAME, Server
from tests.servers.running import START_S, hook
from tests.support.apps import ROOT
from tests.support.balancers import Balancer, haproxy
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
# By their names in the registry; True where a node drains when its server is told to stop.
SERVERS = {
    "uvicorn-workers": True,
    "gunicorn-gthread": True,
    "gunicorn-uvicorn": True,
    "gunicorn-gevent": False,
    "hypercorn": False,
    "granian-wsgi": False,
    "granian-asgi": False,
    "uwsgi-prefork": False,
    "waitress": False,
}
APPS = Path(__file__).with_name("apps")
WAYS = {
    "SIGTERM": "the server's graceful stop",
    "SIGTERM, drain": f"the same with drain_on_stop_s={DRAIN_S}, or after ``clustersession drain``",
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
    causes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def nodes_behind_haproxy(
    server: Server, directory: Path, settings: dict[str, str]
) -> Iterator[tuple[list[Node], Balancer]]:
    """Three nodes that have found each other, and their balancer."""
    ports = ClusterPorts()
    apps = directory / "apps"
    hook(APPS, apps)
    environment = {
        "CLUSTERSESSION_READY_PATH": READY_PATH, "PYTHONPATH": str(ROOT), **settings,
    }
    with contextlib.ExitStack() as cleanup:
        nodes = [
            make_node(
                route, directory, ports, server.words(WORKERS), app_directory=apps,
                environment=environment,
            )
            for route in ROUTES
        ]
        for node in nodes:
            cleanup.callback(node.stop)
            node.start(START_S)
        for node in nodes:
            wait_until_back(node, server)
        yield nodes, cleanup.enter_context(haproxy(nodes, directory, LOG_FORMAT))


def wait_until_back(node: Node, server: Server) -> None:
    """What an operator waits for: ready, all workers there, and the others seen."""
    def back() -> bool:
        with contextlib.suppress(OSError):
            get(node, "/hello")
        seen = agent_status(node)
        alive = [m for m in seen["members"] if m["status"] == "alive" and m["serving"]]
        return (
            seen["phase"] == "ready" and len(alive) == len(ROUTES) - 1
            and len(seen["workers"]) == min(server.workers, WORKERS)
        )

    wait_for(back, f"{node.route} to be back", 40.0)


def restart(node: Node, server: Server, way: str) -> None:
    """Stop it in that way, and start it again."""
    if way == "kill -9":
        node.kill()
    else:
        if "drain" in way and not SERVERS[server.name]:
            drain(node)
        assert node.program.process is not None
        node.program.process.send_signal(server.stop)
        node.program.process.wait(STOPPED_WITHIN_S)
    node.start(START_S)
    wait_until_back(node, server)


def drain(node: Node) -> None:
    """What an operator does before the stop, and the time in which the balancer notices."""
    subprocess.run(
        [sys.executable, "-m", "clustersession", "drain", "--timeout", "20"], check=True,
        env={**os.environ, **node.program.environment}, stdout=subprocess.DEVNULL,
    )
    pause(DRAIN_S)


def roll(server: str, way: str, ways: Sequence[str], directory: Path) -> Result:
    """Restart one node after another under load, each in its way; judge what clients saw.

    ``way`` names the whole; where it says so, the nodes drain on SIGTERM.
    """
    tested, settings = BY_NAME[server], {}
    if "drain" in way and SERVERS[server]:
        settings["CLUSTERSESSION_DRAIN_ON_STOP_S"] = str(DRAIN_S)
    with nodes_behind_haproxy(tested, directory, settings) as (nodes, balancer):
        load = Load({"nodes": {"balancer": ("127.0.0.1", balancer.port)}, **LOAD})
        try:
            pause(1.0)
            for node, its_way in zip(itertools.cycle(nodes), ways, strict=False):
                restart(node, tested, its_way)
                # The balancer's health check needs to see it before the next one goes.
                pause(1.5)
        finally:
            told = load.stop()
        history = [Operation.from_json(plain) for plain in told]
        for node in nodes:
            wait_until_back(node, tested)
        identifiers = ids_of(history)
        reads = {
            node.route: dict(zip(
                identifiers, read(("127.0.0.1", node.port), identifiers), strict=True
            ))
            for node in nodes
        }
        balancer_log = balancer.program.log_path
    verdict = judge(history, reads)
    result = Result(server, way, len(ways), len(history), verdict)
    result.errors.update(
        f"{o.status}" if o.outcome is Outcome.ERROR else "no answer"
        for o in history if o.outcome in (Outcome.ERROR, Outcome.UNKNOWN)
    )
    result.causes = explain(balancer_log.read_text(errors="replace").splitlines())
    # What the balancer's system did not accept in time is in no log.
    if verdict.refused:
        result.errors["no connection"] = result.causes["busy machine"] = verdict.refused
    if result.causes.total() != result.errors.total():
        result.failures.append(f"{result.errors.total()} errors, explained: {result.causes}")
    for name in NEVER:
        if cases := getattr(verdict, name):
            result.failures.append(f"{len(cases)} {name}: {'; '.join(cases[:SHOWN_MAX])}")
    if verdict.unstored:
        result.failures.append(f"{verdict.unstored} unstored")
    return result


COLUMNS = (
    ("server", 17), ("way", 14), ("restarts", 8), ("requests", 8), ("acked", 6),
    ("new session", 11), ("lost", 4), ("other", 5), ("slowest s", 9), ("seen errors", 12),
    ("because", 30),
)


def row(result: Result) -> list[str]:
    """One line of the table."""
    verdict = result.verdict
    other = sum(len(getattr(verdict, n)) for n in NEVER if n not in ("lost", "vanished"))
    return [
        result.server, result.way, str(result.restarts), str(result.requests),
        str(verdict.acknowledged), str(len(verdict.vanished)), str(len(verdict.lost)),
        str(other + verdict.unstored), f"{verdict.worst_latency_s:.2f}",
        _counts(result.errors) or "0", _counts(result.causes),
    ]


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{n} x {what}" for what, n in sorted(counter.items()))


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
