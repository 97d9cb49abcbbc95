"""What sessions add to a request when the application is called directly, without a server.

Every candidate runs in the same rounds, in turn, beside the application without sessions: other
work on the machine then slows all of them alike. Of each round the medians are compared, and the
middle of the rounds counts; the 99th percentile is that of all calls.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from benchmarks.nodes import wait_until
from benchmarks.result import Chart, Result, Table
from benchmarks.store_pairs import BEGIN, KEPT, begin_collections, is_pair, kept
from clustersession.tools.demo.processes import accepts_connections, free_port

ACTIONS = ("untouched", "read", "write")
_ITEM = {"name": "tea", "price": 4.5, "tags": ["green", "loose"], "size": {"g": 100, "cups": 40}}
PAYLOADS: Mapping[str, Mapping[str, Any]] = {
    "3 keys": {"user": "ann", "visits": 3, "cart": ["tea", "cake"]},
    "1 KiB": {
        "user": "ann", "visits": 3, "cart": ["tea", "cake"],
        **{f"field{number}": "x" * 120 for number in range(8)},
    },
    "10 KiB": {
        "user": "ann", "visits": 3,
        "cart": [{**_ITEM, "id": number} for number in range(64)],
        "seen": {f"page{number}": [number, "x" * 40] for number in range(100)},
    },
}
ROUNDS = 7
CALLS = 3000
counter = itertools.count(1000)


class Client(Protocol):
    """Calls one application."""

    def ask(self, path: str, cookie: str) -> tuple[str, str]:
        """One request: the cookie the client holds afterwards, and the body."""
        ...

    def series(self, path: str, cookies: Sequence[str], count: int) -> list[int]:
        """The nanoseconds of each of so many requests, whose cookies take turns."""
        ...


def act(path: str, session: Any) -> str:
    """What every application does; the body of its answer."""
    action = path.strip("/")
    if action == "read":
        if session.get("user") != "ann":
            raise RuntimeError("the session was not there")
    elif action == "write":
        value = next(counter)
        session["visits"] = value
        return str(value)
    elif action == "visits":
        return str(session.get("visits"))
    elif action == "both":
        # Django's session cannot be iterated over.
        return ",".join(sorted(filter(is_pair, session.keys())))
    elif action == BEGIN[1:]:
        begin_collections(session)
    elif action == KEPT[1:]:
        return kept(session)
    elif action.startswith("fill"):
        for name, value in list(PAYLOADS.values())[int(action[4:])].items():
            session[name] = value
    return "ok"


def measure(
    clients: Mapping[str, Client], bare: Client, small: bool
) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    """By payload and action, for each client the median and 99th percentile that it adds, in us."""
    rounds, calls = (3, 250) if small else (ROUNDS, CALLS)
    found: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for number, payload in enumerate(PAYLOADS):
        cookies = {name: client.ask(f"/fill{number}", "")[0] for name, client in clients.items()}
        for name, cookie in cookies.items():
            if not cookie:
                raise RuntimeError(f"{name} gave no cookie")
        for action in ACTIONS:
            medians: dict[str, list[float]] = {name: [] for name in clients}
            every: dict[str, list[int]] = {name: [] for name in clients}
            base_every: list[int] = []
            for _ in range(rounds):
                base = bare.series("/untouched", [""], calls)
                base_every += base
                for name, client in clients.items():
                    taken = client.series(f"/{action}", [cookies[name]], calls)
                    medians[name].append((median(taken) - median(base)) / 1000)
                    every[name] += taken
            base_p99 = _p99(base_every)
            found[payload, action] = {
                name: (median(medians[name]), (_p99(every[name]) - base_p99) / 1000)
                for name in clients
            }
        for name, client in clients.items():
            check(name, client, cookies[name])
    return found


def check(name: str, client: Client, cookie: str) -> str:
    """What a request writes, the next one must read; returns the cookie."""
    cookie, written = client.ask("/write", cookie)
    cookie, read = client.ask("/visits", cookie)
    if read != written:
        raise RuntimeError(f"{name} wrote {written} and read {read}")
    return cookie


def result_of(
    title: str, found: Mapping[tuple[str, str], Mapping[str, tuple[float, float]]]
) -> Result:
    """Tables and a chart."""
    names = list(next(iter(found.values())))
    tables = [
        Table(
            f"{what} over the bare application, microseconds", ("", *names),
            [(f"{action}, {payload}", *(row[name][place] for name in names))
             for (payload, action), row in found.items()],
        )
        for place, what in enumerate(("median", "99th percentile"))
    ]
    labels = [action for payload, action in found if payload == "3 keys"]
    series = {name: [found["3 keys", action][name][0] for action in labels] for name in names}
    chart = Chart(title, "microseconds a request, three keys", labels, series, log=True)
    raw = {f"{payload}, {action}": dict(row) for (payload, action), row in found.items()}
    return Result(title, tables, charts=[chart], raw=raw)


@contextlib.contextmanager
def redis_server(directory: Path) -> Iterator[int]:
    """A redis-server without persistence on a port of its own."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is not installed; it is one of the things compared")
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
         "--dir", os.fspath(directory)],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: accepts_connections(port), "redis-server")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _p99(values: Sequence[int]) -> float:
    return sorted(values)[int(len(values) * 0.99)]
