"""What users notice when Redis is away: sessions of several kinds side by side, on one Redis.

    python -m benchmarks store_outage [--small]
    python -m benchmarks.store_outage [--seconds 30]

Logged-in users write and read all the time and check each answer. Redis, which keeps an append-only
file, is killed and started again with its data, and without; it is stopped by SIGSTOP; it gets
FLUSHALL. Each kind of session has the settings that its documentation begins with.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http import server
from benchmarks.outage_users import Losses, User, all_log_in
from benchmarks.result import Chart, Result, Table, Target, as_text
from benchmarks.store_server import StoreServer, store_server
from clustersession.tools.demo.nodes import ClusterPorts, make_node, uvicorn_command
from clustersession.tools.demo.processes import free_port

ROOT = Path(__file__).parents[1]
OURS = "ours, two hosts"
APPS = "benchmarks.outage_apps"
THREADS = 16
PAUSE_S = 0.25


@dataclass(frozen=True)
class Size:
    """How much of it: of how many users, how long Redis is away and how long it is there."""

    users: int
    away_s: float
    there_s: float
    patience_s: float


FULL = Size(users=12, away_s=30, there_s=8, patience_s=5)
SMALL = Size(users=6, away_s=3, there_s=1.5, patience_s=2)

Outage = tuple[Callable[[StoreServer], None], Callable[[StoreServer], None]]


def _start_empty(store: StoreServer) -> None:
    store.forget_files()
    store.start()


OUTAGES: Mapping[str, Outage] = {
    "killed, back with its data": (StoreServer.kill, StoreServer.start),
    "killed, back empty": (StoreServer.kill, _start_empty),
    "stopped": (StoreServer.stop_breathing, StoreServer.breathe),
    "FLUSHALL": (StoreServer.empty, lambda _: None),
}
"""What happens to Redis, and what ends that."""


def run(small: bool) -> Result:
    """All kinds of sessions through all outages."""
    return measure(SMALL if small else FULL)


def measure(size: Size) -> Result:
    """The same, of any size."""
    result = Result("A store that is away")
    series: dict[str, list[float]] = {}
    with store_server(keeps_data=True) as store, servers(store) as ports:
        for outage in OUTAGES:
            losses = asyncio.run(_suffer(store, ports, outage, size))
            result.tables.append(_table(outage, losses))
            ours = losses[OURS]
            for what, count in (("failed requests", ours.failed), ("lost logins", ours.logins),
                                ("lost writes", ours.counts), ("lost sessions", ours.sessions)):
                result.targets.append(Target(f"{outage}: {what}", count, 0, unit=""))
            for name, one in losses.items():
                series.setdefault(name, []).append(100 * one.failed / one.requests)
    result.notes.append(
        f"Redis was away for {size.away_s:g} s; {size.users} users of each kind, a request each "
        f"{PAUSE_S:g} s, with a patience of {size.patience_s:g} s."
    )
    result.charts.append(Chart(
        "Requests that failed while the store was away", "percent", list(OUTAGES), series
    ))
    return result


@contextmanager
def servers(store: StoreServer) -> Iterator[dict[str, list[int]]]:
    """A server for each kind of sessions, two for ours; their ports."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        environment = {
            "BENCH_REDIS_PORT": str(store.port), "BENCH_SECRET": secrets.token_hex(),
            "BENCH_DIRECTORY": str(directory),
        }
        commands = {
            "starsessions": _uvicorn("make_starsessions"),
            "Flask-Session": _gunicorn("make_flask()"),
            "Django, cache": _gunicorn("make_django('cache')"),
            "Django, cached_db": _gunicorn("make_django('cached_db')"),
        }
        ports = {}
        for name, command in commands.items():
            port = free_port()
            ports[name] = [port]
            stack.enter_context(
                server([part.replace("{port}", str(port)) for part in command], port, environment)
            )
        cluster = ClusterPorts()
        ports[OURS] = []
        for route in ("web1", "web2"):
            node = make_node(
                route, directory, cluster, _uvicorn("make_ours"), app_directory=ROOT,
                environment={"CLUSTERSESSION_STORE": store.url},
            )
            stack.callback(node.stop)
            node.start()
            ports[OURS].append(node.port)
        yield ports


def _uvicorn(factory: str) -> list[str]:
    return [*uvicorn_command(f"{APPS}:{factory}"), "--factory"]


def _gunicorn(app: str) -> list[str]:
    return [
        sys.executable, "-m", "gunicorn", f"{APPS}:{app}", "--bind", "127.0.0.1:{port}",
        "--worker-class", "gthread", "--threads", str(THREADS), "--workers", "1",
    ]


async def _suffer(
    store: StoreServer, ports: Mapping[str, Sequence[int]], outage: str, size: Size
) -> dict[str, Losses]:
    """One outage under load, and what users of each kind have seen of it."""
    losses = {name: Losses() for name in ports}
    users = [
        User(f"user{number}", of[number % len(of)], losses[name], size.patience_s)
        for name, of in ports.items() for number in range(size.users)
    ]
    await all_log_in(users)
    until_s = time.monotonic() + size.away_s + 2 * size.there_s
    load = asyncio.gather(*(user.use(PAUSE_S, until_s) for user in users))
    begin, end = OUTAGES[outage]
    await asyncio.sleep(size.there_s)
    # In a thread: users must not wait for what this process waits for.
    await asyncio.to_thread(begin, store)
    await asyncio.sleep(size.away_s)
    await asyncio.to_thread(end, store)
    await load
    await asyncio.gather(*(user.look_back() for user in users))
    return losses


def _table(outage: str, losses: Mapping[str, Losses]) -> Table:
    columns = ("", "requests", "failed", "failed %", "slowest ms", "lost logins", "lost writes",
               "lost sessions")
    return Table(outage, columns, [
        (name, one.requests, one.failed, 100 * one.failed / one.requests, 1000 * one.slowest_s,
         one.logins, one.counts, one.sessions)
        for name, one in losses.items()
    ])


def main() -> None:
    """With as long an outage as one wants."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_outage")
    parser.add_argument("--seconds", type=float, default=FULL.away_s, help="that Redis is away")
    seconds: float = parser.parse_args().seconds
    size = FULL if seconds >= FULL.away_s else SMALL
    print(as_text(measure(Size(size.users, seconds, size.there_s, size.patience_s))))


if __name__ == "__main__":
    main()
