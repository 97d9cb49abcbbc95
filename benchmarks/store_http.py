"""Requests per second behind real servers: ours with a store, and what people use.

    python -m benchmarks store_http [--small] [--valkey]

A Starlette application behind uvicorn, Flask and Django behind gunicorn, with one and two workers;
reads, nine reads for each write, and writes. wrk, the servers, the agent and the store share the
machine.
"""

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.http import ONE, Comparison, Figures, server
from benchmarks.result import Cell, Result, Table
from benchmarks.store_request import RIVALS, STORE_NONE, STORE_ONE, environments
from benchmarks.stores import settle, store_nodes, store_server
from clustersession.tools.demo.processes import free_port

MIXES = {"read": ("read",), "9 reads, 1 write": ("read",) * 9 + ("write",), "write": ("write",)}
FACTORIES = {"ASGI": "make_starlette", "Flask": "make_flask", "Django": "make_django"}
WORKERS = (1, 2)


def command(framework: str, port: int, workers: int) -> list[str]:
    """What serves an application."""
    factory = f"benchmarks.http_apps:{FACTORIES[framework]}"
    if framework == "ASGI":
        return [
            sys.executable, "-m", "uvicorn", "--factory", factory, "--port", str(port),
            "--workers", str(workers), "--no-access-log", "--log-level", "warning",
        ]
    return [
        sys.executable, "-m", "gunicorn", f"{factory}()", "--bind", f"127.0.0.1:{port}",
        "--worker-class", "gthread", "--threads", "4", "--workers", str(workers),
        "--keep-alive", "60",
    ]


def run(small: bool) -> Result:
    """One framework and number of workers after the other."""
    numbers = WORKERS[:1] if small else WORKERS
    result = Result("Over HTTP with a store")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        comparison = Comparison(directory, small)
        store = stack.enter_context(store_server())
        (node,) = stack.enter_context(store_nodes(store, 1, ack="one"))
        node.replica.close()
        known = environments(store, {STORE_NONE: node, STORE_ONE: node})
        for framework, rivals in RIVALS.items():
            for workers in numbers:
                with ExitStack() as servers:
                    ports = {}
                    for name in ("bare", *rivals, STORE_NONE, STORE_ONE):
                        ports[name] = port = free_port()
                        run_it = command(framework, port, workers)
                        servers.enter_context(server(run_it, port, known[name]))
                    found = comparison.run(ports, ONE.connections, MIXES, attributes=1)
                settle(node)
                title = f"{framework}, {workers} worker{'s' * (workers > 1)}"
                result.tables.append(_table(title, found, rivals))
                result.raw[title] = found
        if not node.status()["store"]["pushed"]:
            raise RuntimeError("nothing went to the store")
    return result


def _table(title: str, found: Figures, rivals: Sequence[str]) -> Table:
    rows: list[list[Cell]] = []
    for mix, row in found.items():
        for name, one in row.items():
            over = one["per_s"] / row[rivals[0]]["per_s"]
            rows.append([
                f"{mix}, {name}", round(one["per_s"]), one["per_s"] / row["bare"]["per_s"],
                over, one["p50_ms"], one["p99_ms"],
            ])  # fmt: skip
    columns = ("", "requests/s", "of the bare", f"over {rivals[0]}", "p50 ms", "p99 ms")
    return Table(title, columns, rows)
