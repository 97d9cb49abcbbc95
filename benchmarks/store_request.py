"""What a session in a Valkey or Redis costs a request: ours with a store, and what people use.

    python -m benchmarks store_request [--small] [--valkey]

Each application is called in a process of its own, in turn with the others. Beside them, in our
process: a plain SET to the same server, and a commit to a replica alone.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from benchmarks.nodes import BenchNode, joined_nodes
from benchmarks.result import Cell, Result, Table, Target
from benchmarks.store_subject import FRAMEWORKS, ROOT, Subject, subjects
from benchmarks.stores import settle, store_nodes, store_server
from tests.store.servers import Server

RIVALS = {
    "ASGI": ("starsessions + Redis",), "Flask": ("Flask-Session + Redis",),
    "Django": ("Django cache", "Django cached_db"),
}
STORE_NONE, STORE_ONE, CLUSTER_NONE = "store, ack none", "store, ack one", "cluster, ack none"
OURS = (STORE_NONE, STORE_ONE, CLUSTER_NONE)
SET, COMMIT = "plain SET", "commit alone"
PAYLOADS = {"3 keys": (0, 60), "1 KiB": (1, 1024)}
"""By name, the number in overhead.PAYLOADS and about how many bytes it is."""
READ_MAX, WRITE_MAX, CLUSTER_MAX = 0.05, 1.3, 1.1
Row = dict[str, float]
"""Microseconds by what took them."""


@dataclass(frozen=True)
class Plan:
    """How much is done: rounds, calls in each, and how many sessions are held."""

    rounds: int
    calls: int
    held: tuple[int, int]


@dataclass(frozen=True)
class Bench:
    """What all subjects share: the environment of each by its name, and the nodes behind ours."""

    environments: Mapping[str, Mapping[str, str]]
    nodes: Mapping[str, BenchNode]


@contextmanager
def bench() -> Iterator[Bench]:
    """One server, a node with it as its store, and a cluster of two nodes."""
    with ExitStack() as stack:
        server = stack.enter_context(store_server())
        (stored,) = stack.enter_context(store_nodes(server, 1, ack="one"))
        first, _ = stack.enter_context(joined_nodes(2, ack="none"))
        for node in (stored, first):
            node.replica.close()
        yield Bench(
            environments(server, {STORE_ONE: stored, STORE_NONE: stored, CLUSTER_NONE: first}),
            {STORE_ONE: stored, STORE_NONE: stored, CLUSTER_NONE: first},
        )


def environments(
    server: Server, nodes: Mapping[str, BenchNode]
) -> dict[str, dict[str, str]]:
    """For every kind of sessions; of ours the names end in what ``ack`` is."""
    common = {
        "BENCH_SECRET": secrets.token_hex(), "BENCH_REDIS_PORT": str(server.port),
        "BENCH_DIRECTORY": str(server.directory),
    }
    command = [sys.executable, "-m", "benchmarks.django_project"]
    subprocess.run(command, env={**os.environ, **common}, cwd=ROOT, check=True)
    found = {"bare": common}
    for kinds in RIVALS.values():
        found |= {kind: {**common, "BENCH_SESSIONS": kind} for kind in kinds}
    for name, node in nodes.items():
        ack = name.rpartition(" ")[2]
        found[name] = {
            **common, **node.environment(), "BENCH_SESSIONS": "ours", "CLUSTERSESSION_ACK": ack,
            # Sessions begin faster here than users come.
            "CLUSTERSESSION_NEW_SESSIONS_PER_SECOND_MAX": "1000000",
        }
    return found


def run(small: bool) -> Result:
    """One framework after the other."""
    plan = Plan(2, 60, (1, 50)) if small else Plan(7, 1000, (1, 10_000))
    result = Result("The request path with a store")
    with bench() as made:
        for framework in FRAMEWORKS:
            kinds = {name: made.environments[name] for name in ("bare", *RIVALS[framework], *OURS)}
            with subjects(framework, kinds) as running:
                found = _measure(running, made.nodes, plan)
            _tell(framework, found, result)
            result.raw[framework] = found
    return result


def _measure(
    running: Mapping[str, Subject], nodes: Mapping[str, BenchNode], plan: Plan
) -> dict[str, Row]:
    """By what was done the medians over the bare application; of SET and commit all of it."""
    found: dict[str, Row] = {}
    for held in plan.held:
        for payload, (number, size) in PAYLOADS.items():
            for name, subject in running.items():
                if name != "bare":
                    subject.ask("fill", number, held)
                if name in nodes:
                    settle(nodes[name])
            for action in ("read", "write"):
                rounds = [
                    _round(running, nodes, f"/{action}", (size, held), plan.calls)
                    for _ in range(plan.rounds)
                ]
                row = {name: median(each[name] for each in rounds) for name in rounds[0]}
                found[f"{action}, {payload}, {held:,} held"] = row
            for name, subject in running.items():
                if name != "bare":
                    subject.ask("check", name)
    return found


def _round(
    running: Mapping[str, Subject], nodes: Mapping[str, BenchNode], path: str,
    size_and_held: tuple[int, int], calls: int,
) -> Row:
    size, held = size_and_held
    base = median(running["bare"].series("/untouched", calls))
    row: Row = {}
    for name, subject in running.items():
        if name != "bare":
            row[name] = (median(subject.series(path, calls)) - base) / 1000
        if name in nodes and path == "/write":
            settle(nodes[name])
    if path == "/write":
        ours = running[STORE_ONE]
        row[SET] = median(ours.ask("round_trips", size, calls)) / 1000
        row[COMMIT] = median(ours.ask("commits", size, held, calls)) / 1000
    return row


def _tell(framework: str, found: Mapping[str, Row], result: Result) -> None:
    rivals = RIVALS[framework]
    names = (*rivals, *OURS, SET, COMMIT)
    rows: list[list[Cell]] = [[what, *map(row.get, names)] for what, row in found.items()]
    title = f"{framework}: median over the bare application, microseconds"
    result.tables.append(Table(title, ("", *names), rows))
    ratios: list[list[Cell]] = []
    for what, row in found.items():
        over = [row[mine] / row[rival] for mine in (STORE_NONE, STORE_ONE) for rival in rivals]
        parts: list[Cell] = [None, None]
        if COMMIT in row:
            parts = [row[STORE_ONE] / (row[SET] + row[COMMIT]), row[STORE_NONE] / row[CLUSTER_NONE]]
        ratios.append([what, *over, *parts])
        result.targets += _targets(f"{framework}, {what}", row, rivals)
    columns = [f"ack {ack} over {rival}" for ack in ("none", "one") for rival in rivals]
    columns += ["ack one over SET + commit", "ack none over cluster's"]
    result.tables.append(Table(f"{framework}: ratios", ("", *columns), ratios))


def _targets(what: str, row: Row, rivals: tuple[str, ...]) -> list[Target]:
    if COMMIT not in row:
        if rivals != RIVALS["ASGI"]:
            return []
        return [Target(f"{what}, over {rivals[0]}", row[STORE_NONE] / row[rivals[0]], READ_MAX)]
    parts_us = row[SET] + row[COMMIT]
    return [
        Target(f"{what}, ack one over SET + commit", row[STORE_ONE] / parts_us, WRITE_MAX),
        Target(
            f"{what}, ack none over cluster's", row[STORE_NONE] / row[CLUSTER_NONE], CLUSTER_MAX
        ),
    ]  # fmt: skip
