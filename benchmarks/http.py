"""Requests per second behind a real server, by wrk with connections kept open.

    python -m benchmarks http [--small]

uvicorn with one and four workers, with h11 and httptools, and gunicorn with a Flask application.
Sessions off (the bare application), stand-alone, and with two nodes; then with the second node
writing all the time. The load has 64 sessions. All of it, wrk too, shares the machine.
"""

import contextlib
import http.client
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.nodes import bench_nodes, wait_until
from benchmarks.overhead import redis_server
from benchmarks.result import Chart, Result, Table, Target
from clustersession.tools.demo.processes import accepts_connections, free_port

ROOT = Path(__file__).parents[1]
SESSIONS = 64
WRITES_PER_S = 5000
ACTIONS = ("read", "write")
MIXES: Mapping[str, Sequence[str]] = {action: (action,) for action in ACTIONS}
"""By name, what is asked for in turn."""


@dataclass(frozen=True)
class Load:
    """How uvicorn serves, by which parser of HTTP, and how many connections are kept open."""

    workers: int
    parser: str
    connections: int

    @property
    def title(self) -> str:
        """The title of its table."""
        number = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"uvicorn with {self.parser}, {number}, {self.connections} connections"


ONE = Load(1, "h11", 8)
LOADS = tuple(
    Load(workers, parser, connections)
    for parser in ("h11", "httptools") for workers in (1, 4) for connections in (8, 32)
)
SMALL = (ONE, Load(4, "h11", 8), Load(1, "httptools", 8), Load(4, "httptools", 32))
FLASK = "gunicorn, Flask"
Command = Callable[[int], list[str]]
Figures = dict[str, dict[str, dict[str, float]]]


@contextlib.contextmanager
def server(command: list[str], port: int, environment: Mapping[str, str]) -> Iterator[int]:
    """A server in a process group of its own."""
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, cwd=ROOT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: accepts_connections(port), "the server")
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def uvicorn(port: int, load: Load) -> list[str]:
    """Its command."""
    return [
        sys.executable, "-m", "uvicorn", "--factory", "benchmarks.http_apps:make_asgi", "--port",
        str(port), "--workers", str(load.workers), "--http", load.parser, "--no-access-log",
        "--log-level", "warning",
    ]


def gunicorn(port: int) -> list[str]:
    """Its command."""
    return [
        sys.executable, "-m", "gunicorn", "benchmarks.http_apps:make_flask()", "--bind",
        f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "4", "--workers", "1",
        "--keep-alive", "60",
    ]


def ask(port: int, path: str, cookie: str = "") -> tuple[str, str]:
    """The cookie the client holds afterwards, and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{path} was answered with {response.status}")
    return (response.headers.get("set-cookie") or cookie).partition(";")[0], body


def put_under_load(
    port: int, actions: Sequence[str], cookies: list[str], seconds: float, script: Path,
    connections: int,
) -> dict[str, float]:
    """What wrk says: requests per second and latencies in milliseconds. Actions take turns."""
    lines, paths = ([f'"{each}"' for each in some] for some in (cookies, actions))
    header = 'wrk.headers["Cookie"] = cookies[n % #cookies + 1]' if cookies else ""
    script.write_text(
        f"local cookies, paths = {{{', '.join(lines)}}}, {{{', '.join(paths)}}}\nlocal n = 0\n"
        f"request = function() n = n + 1; {header}\n"
        'return wrk.format(nil, "/" .. paths[n % #paths + 1]) end\n'
    )
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("wrk is not installed")
    done = subprocess.run(
        [program, "-t1", f"-c{connections}", f"-d{seconds:g}", "--latency", "-s", str(script),
         f"http://127.0.0.1:{port}"],
        capture_output=True, text=True, check=True,
    ).stdout
    if "Non-2xx" in done or "Socket errors" in done:
        raise RuntimeError(done)
    per_s = re.search(r"Requests/sec:\s+([\d.]+)", done)
    p50, p99 = (re.search(rf"{part}%\s+([\d.]+)(us|ms|s)", done) for part in (50, 99))
    assert per_s is not None
    return {"per_s": float(per_s[1]), "p50_ms": _ms(p50), "p99_ms": _ms(p99)}


def _ms(found: "re.Match[str] | None") -> float:
    assert found is not None
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]]


class Comparison:
    """Servers side by side, loaded in turn."""

    def __init__(self, directory: Path, small: bool) -> None:
        self._script = directory / "load.lua"
        self._rounds, self._seconds = (1, 1) if small else (5, 3)

    def run(
        self, ports: Mapping[str, int], connections: int,
        mixes: Mapping[str, Sequence[str]] = MIXES, *, attributes: int = 0,
    ) -> Figures:
        """By mix and server the medians of all rounds; each must have kept what it was told.

        attributes: so many has each session from the start.
        """
        cookies: dict[str, list[str]] = {}
        for name, port in ports.items():
            fill = f"/fill{attributes}"
            given = [ask(port, fill)[0] for _ in range(SESSIONS)] if name != "bare" else []
            cookies[name] = [cookie for cookie in given if cookie]
        found: Figures = {}
        for mix, actions in mixes.items():
            rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ports}
            for _ in range(self._rounds):
                for name, port in ports.items():
                    paths = ("untouched",) if name == "bare" else actions
                    rounds[name].append(put_under_load(
                        port, paths, cookies[name], self._seconds, self._script, connections
                    ))
            found[mix] = {
                name: {key: median(one[key] for one in taken) for key in taken[0]}
                for name, taken in rounds.items()
            }
        for name, port in ports.items():
            if name != "bare":
                cookie, written = ask(port, "/write", cookies[name][0])
                if ask(port, "/visits", cookie)[1] != written:
                    raise RuntimeError(f"{name} has lost what was written")
        return found


def run(small: bool) -> Result:
    """One comparison for each server and number of workers."""
    figures: Figures = {}
    secret = {"BENCH_SECRET": secrets.token_hex()}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        redis_port = stack.enter_context(redis_server(directory))
        first, second = stack.enter_context(bench_nodes(2, ack="one"))
        first.start_agent()
        second.start_agent()
        for node in (first, second):
            node.replica.close()
        comparison = Comparison(directory, small)
        clustered = {**secret, **first.environment(), "BENCH_SESSIONS": "ours"}
        alone = {
            **secret, "BENCH_SESSIONS": "ours", "CLUSTERSESSION_STATE_DIR": str(directory),
            "CLUSTERSESSION_ROUTE": "alone", "CLUSTERSESSION_SECRET": secrets.token_hex(),
        }
        kinds: dict[str, Mapping[str, str]] = {
            "bare": secret, "alone": alone,
            "ack none": {**clustered, "CLUSTERSESSION_ACK": "none"}, "ack one": clustered,
        }
        others = {"signed cookie": "signed cookie", "Redis": "starsessions + Redis"}
        redis = {**secret, "BENCH_REDIS_PORT": str(redis_port)}
        asgi = {
            **kinds, **{name: {**redis, "BENCH_SESSIONS": kind} for name, kind in others.items()}
        }
        for load in SMALL if small else LOADS:
            figures[load.title] = _compare(
                asgi, comparison, lambda port, load=load: uvicorn(port, load), load.connections
            )
        flask = {**kinds, "Redis": {**redis, "BENCH_SESSIONS": "Flask-Session + Redis"}}
        figures[FLASK] = _compare(flask, comparison, gunicorn)
        busy = {"bare": secret, "ack none": kinds["ack none"]}
        writer_environment = {**second.environment(), "CLUSTERSESSION_ACK": "none"}
        title = f"uvicorn, 1 worker, while the other node writes {WRITES_PER_S:,} a second"
        with writer(writer_environment, WRITES_PER_S) as written:
            figures[title] = _compare(busy, comparison, lambda port: uvicorn(port, ONE))
    return _result(figures, title, written)


def _compare(
    kinds: Mapping[str, Mapping[str, str]], comparison: Comparison, command: Command,
    connections: int = ONE.connections,
) -> dict[str, dict[str, dict[str, float]]]:
    with ExitStack() as stack:
        ports = {}
        for name, environment in kinds.items():
            ports[name] = port = free_port()
            stack.enter_context(server(command(port), port, environment))
        return comparison.run(ports, connections)


@contextlib.contextmanager
def writer(environment: Mapping[str, str], per_s: int) -> Iterator[list[int]]:
    """Another node's worker, writing; afterwards the list holds how many it wrote each second."""
    written: list[int] = []
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.http_writer", str(per_s)], env=dict(environment),
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the writer did not start")
        yield written
    finally:
        process.terminate()
        written.append(int(process.stdout.readline() or 0))
        process.wait(20)


def _result(figures: Figures, busy: str, written: list[int]) -> Result:
    tables = []
    for title, found in figures.items():
        rows = []
        for action, row in found.items():
            bare = row["bare"]["per_s"]
            rows += [
                (f"{action}, {name}", round(one["per_s"]), one["per_s"] / bare, one["p50_ms"],
                 one["p99_ms"])
                for name, one in row.items()
            ]
        columns = ("", "requests/s", "of the bare", "p50 ms", "p99 ms")
        tables.append(Table(title, columns, rows))
    one, flask = figures[ONE.title], figures[FLASK]

    def share(found: Mapping[str, Mapping[str, Mapping[str, float]]], action: str, name: str,
              other: str = "bare") -> float:
        return found[action][name]["per_s"] / found[action][other]["per_s"]

    def least(what: str, measured: float, limit: float) -> Target:
        return Target(what, measured, limit, at_least=True)

    kept = share(figures[busy], "read", "ack none") / share(one, "read", "ack none")
    targets = [
        least("read, of the bare", share(one, "read", "ack none"), 0.85),
        least("write, ack none, of the bare", share(one, "write", "ack none"), 0.75),
        least("write, ack one, of the bare", share(one, "write", "ack one"), 0.5),
        least("Flask write, of the bare", share(flask, "write", "ack none"), 0.85),
        least("read, clustering on over off", share(one, "read", "ack none", "alone"), 0.97),
        least("write, ack none over off", share(one, "write", "ack none", "alone"), 0.8),
        least("write, ack one over off", share(one, "write", "ack one", "alone"), 0.6),
        least("reads kept while the other node writes, of those of the bare", kept, 0.9),
    ]
    names = [name for name in one["read"] if name != "bare"]
    chart = Chart(
        "Requests per second behind uvicorn, one worker", "share of the bare application's", names,
        {action: [share(one, action, name) for name in names] for action in ACTIONS},
    )
    notes = [f"The other node wrote {written[0]:,} changes a second."] if written else []
    return Result("Over HTTP", tables, targets, [chart], notes, {"figures": figures})
