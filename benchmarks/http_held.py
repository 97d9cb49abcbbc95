"""Requests per second behind uvicorn where many sessions are held and many users are active.

    python -m benchmarks http_held [--small]

The bare application, a signed cookie, and one node alone that holds 100,000 sessions, of which
2,000 are asked for in turn: with h11 and httptools, one and four workers, 8 and 32 connections. In
turn, in the same rounds; wrk, server and all share the machine. Takes five minutes. Where wrk is
missing a client in Python does the small form, with one connection; its figures say nothing.
"""

import http.client
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.http import LOADS, ONE, Load, ask, put_under_load, server, uvicorn
from benchmarks.result import Result, Table, Target
from benchmarks.users import ACTIVE, HELD, hold
from clustersession.tools.demo.processes import free_port
from clustersession.worker.runtime import Runtime

BARE, COOKIE, OURS = "bare", "signed cookie", "ours"
SMALL = (ONE, Load(4, "httptools", 32))
ACTIONS = ("read", "write")
CELLS = ((BARE, "untouched"), *((kind, act) for act in ACTIONS for kind in (COOKIE, OURS)))
Figures = dict[tuple[str, str], dict[str, float]]
LIMITS = {"h11": 0.55, "httptools": 0.35}


def run(small: bool) -> Result:
    """Small: two loads, a fiftieth of the sessions, one round."""
    held, active, rounds = (HELD // 50, ACTIVE // 20, 1) if small else (HELD, ACTIVE, 4)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        secret = secrets.token_hex()
        kinds: dict[str, Mapping[str, str]] = {
            kind: {"BENCH_SECRET": secret, "BENCH_SESSIONS": kind} for kind in (BARE, COOKIE)
        }
        options = {
            "state_dir": str(directory), "route": "held", "secret": secret,
            "new_sessions_per_second_max": "0",
        }
        kinds[OURS] = {
            "BENCH_SESSIONS": OURS, **{f"CLUSTERSESSION_{k.upper()}": v for k, v in options.items()}
        }
        runtime = Runtime.from_options(dict(options))
        hold(runtime, held - active)
        cookies: dict[str, list[str]] = {BARE: []}
        put = _putter(directory / "load.lua")
        found = {
            load: _measured(load, kinds, cookies, active, rounds, put)
            for load in (SMALL if small else LOADS)
        }
        runtime.close()
    title = f"Behind uvicorn, {held:,} sessions, {active:,} users active"
    targets = [
        Target(
            f"write behind {load.parser}, of the bare",
            figures[OURS, "write"]["per_s"] / figures[BARE, "untouched"]["per_s"],
            LIMITS[load.parser], at_least=True,
        )
        for load, figures in found.items() if (load.workers, load.connections) == (1, 8)
    ]
    return Result(title, [_table(load, figures) for load, figures in found.items()], targets)


Put = Callable[[int, str, Sequence[str], int], dict[str, float]]


def _putter(script: Path) -> Put:
    if shutil.which("wrk") is None:
        return _by_python
    return lambda port, action, cookies, connections: put_under_load(
        port, [action], list(cookies), 1, script, connections
    )


def _by_python(
    port: int, action: str, cookies: Sequence[str], connections: int
) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    taken: list[float] = []
    until_s = time.perf_counter() + 0.5
    while (started_s := time.perf_counter()) < until_s:
        headers = {"Cookie": cookies[len(taken) % len(cookies)]} if cookies else {}
        connection.request("GET", f"/{action}", headers=headers)
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"{action} was answered with {response.status}")
        taken.append(time.perf_counter() - started_s)
    connection.close()
    ordered = sorted(taken)
    p50_ms, p99_ms = (1000 * ordered[len(ordered) * part // 100] for part in (50, 99))
    return {"per_s": len(taken) / 0.5, "p50_ms": p50_ms, "p99_ms": p99_ms}


def _measured(
    load: Load, kinds: Mapping[str, Mapping[str, str]], cookies: dict[str, list[str]], active: int,
    rounds: int, put: Put,
) -> Figures:
    """Medians of all rounds; what is written in the end must be there."""
    with ExitStack() as stack:
        ports = {}
        for kind, environment in kinds.items():
            ports[kind] = port = free_port()
            stack.enter_context(server(uvicorn(port, load), port, environment))
            if kind not in cookies:
                # They outlive the server.
                count = active if kind == OURS else 64
                cookies[kind] = [ask(port, "/fill0")[0] for _ in range(count)]
        taken: dict[tuple[str, str], list[dict[str, float]]] = {cell: [] for cell in CELLS}
        for _ in range(rounds):
            for kind, action in CELLS:
                taken[kind, action].append(
                    put(ports[kind], action, cookies[kind], load.connections)
                )
        # Of a session of its own: requests for the others may still be under way in the server.
        cookie, written = ask(ports[OURS], "/write", ask(ports[OURS], "/fill0")[0])
        if ask(ports[OURS], "/visits", cookie)[1] != written:
            raise RuntimeError("what was written is lost")
    return {
        cell: {key: median(one[key] for one in several) for key in several[0]}
        for cell, several in taken.items()
    }


def _table(load: Load, figures: Figures) -> Table:
    bare = figures[BARE, "untouched"]["per_s"]
    rows = [
        (f"{action}, {kind}", round(one["per_s"]), one["per_s"] / bare, one["p50_ms"],
         one["p99_ms"])
        for (kind, action), one in figures.items()
    ]
    return Table(load.title, ("", "requests/s", "of the bare", "p50 ms", "p99 ms"), rows)
