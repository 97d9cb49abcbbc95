"""Seeded plans, many of them: one number draws the cluster, its settings and everything that happens.

    python -m tests.simulation.swarm 1000              seeds 0 to 999
    python -m tests.simulation.swarm 5000-5999 --jobs 2
    python -m tests.simulation.swarm --seed 4711       one seed, its story printed
    python -m tests.simulation.swarm --plan FILE       a plan that was kept

A failing seed prints the command that replays it, and its plan shortened as far as it still fails.
"""

import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulation.plan import Plan, Step
from tests.simulation.shorten import shorten
from tests.simulation.story import Story

CHUNK = 50
PROGRESS_S = 15.0
FINDINGS_MAX = 10
COMMAND = "python -m tests.simulation.swarm --seed"

NAMES = ["x", "y", "z"]
ACTIONS = ["set", "set", "set", "nested", "read", "read", "delete", "rotate", "end"]
WAITS_MS = [0.0, 0.3, 0.7, 1.0, 1.1, 2.0, 3.0, 10.0, 40.0, 100.0, 600.0, 2000.0, 5000.0]
FAULTS: dict[str, list[str]] = {
    "none": [],
    "processes": ["kill", "start", "start", "agent", "agent", "worker", "leave", "start", "drain"],
    "network": [
        "cut", "deafen", "isolate", "split", "heal", "heal", "reset", "reset", "slow", "clog",
    ],
    "datagrams": ["drop", "drop", "double", "delay", "delay", "reset"],
    "stores": ["wipe", "start", "start", "sync", "fall_back", "full", "space", "kill", "agent"],
    "clocks": ["step", "step", "drift", "pause"],
    "power": ["off", "start", "start", "pause", "isolate", "heal"],
}


def plan_of(seed: int) -> Plan:
    """The plan that a seed stands for."""
    rng = random.Random(seed)
    plan = Plan(
        hosts=rng.choice([2, 2, 3, 3, 3, 3, 4, 5]) if rng.random() < 0.97 else rng.randint(6, 16),
        browsers=rng.randint(1, 4),
        seed=seed,
        tiny=rng.random() < 0.4,
        settings=_settings(rng),
    )
    kinds = [kind for kind in FAULTS if rng.random() < 0.4]
    if kinds and kinds != ["none"] and rng.random() < 0.4:
        plan.loss = rng.choice([0.0, 0.02, 0.2, 0.5])
        plan.duplication = rng.choice([0.0, 0.05, 0.5])
        plan.jitter_s = rng.choice([0.0, 0.002, 0.02])
    faults = [fault for kind in kinds for fault in FAULTS[kind]]
    fault_share = rng.choice([0.1, 0.25, 0.4]) if faults else 0.0
    wait_share = rng.choice([0.2, 0.35])
    for _ in range(rng.randint(5, 45)):
        draw = rng.random()
        if draw < fault_share:
            plan.steps.append(_fault(rng, rng.choice(faults), plan.hosts))
        elif draw < fault_share + wait_share:
            plan.steps.append(["wait", rng.choice(WAITS_MS)])
        else:
            plan.steps.append(_visit(rng, plan))
    return plan


def _settings(rng: random.Random) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "carrier": rng.choice(["auto", "multicast", "tcp"]),
        "ack": rng.choice(["one", "one", "one", "all", "none"]),
        "rewrite": rng.choice(["failover", "failover", "always", "never"]),
    }
    if rng.random() < 0.3:
        settings["heartbeat_interval_s"] = 0.2
        settings["drop_time_s"] = 1.2
    if rng.random() < 0.15:
        settings["idle_timeout_s"] = rng.choice([4.0, 10.0])
    if rng.random() < 0.1:
        settings["absolute_timeout_s"] = rng.choice([10.0, 20.0])
        settings.setdefault("idle_timeout_s", 5.0)
    return settings


def _visit(rng: random.Random, plan: Plan) -> Step:
    think_ms = rng.choice([0.0, 0.0, 0.0, 0.0, 5.0, 300.0])
    return [
        "visit", rng.randrange(plan.browsers), rng.randrange(plan.hosts), rng.randrange(2),
        rng.choice(ACTIONS), rng.choice(NAMES), think_ms,
    ]


def _fault(rng: random.Random, kind: str, hosts: int) -> Step:
    one, other = rng.randrange(hosts), rng.randrange(hosts)
    match kind:
        case "worker":
            return [kind, one, rng.randrange(2)]
        case "pause":
            return [kind, one, rng.choice([100.0, 1500.0, 6000.0])]
        case "step":
            return [kind, one, rng.choice([-60_000.0, -1500.0, -5.0, 0.0, 3.0, 2500.0, 60_000.0])]
        case "drift":
            return [kind, one, rng.choice([-20_000.0, 500.0, 20_000.0])]
        case "cut" | "deafen" | "reset":
            return [kind, one, other]
        case "split":
            return [kind, rng.randint(1, hosts - 1)]
        case "heal":
            return [kind]
        case "drop" | "double":
            return [kind, one, other, rng.randint(1, 4)]
        case "delay" | "slow" | "clog":
            return [kind, one, other, rng.choice([1.0, 30.0, 400.0, 3000.0])]
        case _:
            return [kind, one]


@dataclass
class Tally:
    """What some seeds showed. ``findings``: seed and what was wrong."""

    seeds: int = 0
    marks: Counter[str] = field(default_factory=Counter)
    converged_s: list[float] = field(default_factory=list)
    findings: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Both together."""
        self.seeds += other.seeds
        self.marks.update(other.marks)
        self.converged_s += other.converged_s
        self.findings += other.findings


def problem(plan: Plan) -> str | None:
    """What is wrong with a run of the plan; None when nothing is."""
    try:
        Story(plan).run()
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return f"{type(error).__name__} at {where}: {error}"
    return None


def try_seeds(seeds: Iterable[int]) -> Tally:
    """Run some seeds, every twentieth twice: the same plan must take the same course."""
    tally = Tally()
    for seed in seeds:
        tally.seeds += 1
        story = Story(plan_of(seed))
        try:
            report = story.run()
            if seed % 20 == 0 and Story(plan_of(seed)).run().trace_hash != report.trace_hash:
                raise AssertionError("the same plan took another course")
        except Exception:
            tally.findings.append((seed, problem(plan_of(seed)) or "only sometimes"))
        else:
            tally.marks.update(report.marks)
            tally.converged_s.append(report.converged_s)
    return tally


def campaign(seeds: range, jobs: int) -> Iterator[Tally]:
    """The tally so far, after each chunk."""
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    total = Tally()
    if jobs == 1:
        for chunk in chunks:
            total.add(try_seeds(chunk))
            yield total
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for tally in pool.imap_unordered(try_seeds, chunks):
            total.add(tally)
            yield total


def explain(plan: Plan) -> str | None:
    """Print what is wrong, with the plan made as short as it goes."""
    wrong = problem(plan)
    if wrong is None:
        return None
    kind = wrong.split(":")[0]
    short = shorten(plan, lambda tried: (problem(tried) or "").startswith(kind))
    story = Story(short, remember=True)
    try:
        story.run()
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    print("\n".join(story.world.lines or []))
    print(f"{wrong}\nthe plan, shortened; --plan FILE runs it:\n{short.to_json()}")
    return wrong


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Run seeded plans in the simulator.")
    parser.add_argument("seeds", nargs="?", default="1000", help="how many, or FROM-TO")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, help="one seed, told as a story")
    parser.add_argument("--plan", type=Path, help="a plan in a file, told as a story")
    options = parser.parse_args()
    if options.plan is not None or options.seed is not None:
        plan = (
            plan_of(options.seed) if options.plan is None
            else Plan.from_json(options.plan.read_text())
        )
        if explain(plan) is None:
            story = Story(plan, remember=True)
            report = story.run()
            print("\n".join(report.lines), f"\nnothing is wrong; trace {report.trace_hash}")
            return 0
        return 1
    first, _, last = options.seeds.rpartition("-")
    seeds = range(int(first), int(last) + 1) if first else range(int(last))
    return _report(seeds, options.jobs)


def _report(seeds: range, jobs: int) -> int:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    print(f"seeds {seeds.start} to {seeds.stop - 1}, {jobs} jobs, commit {commit or 'unknown'}")
    began_s = told_s = time.monotonic()
    tally, known = Tally(), 0
    for tally in campaign(seeds, jobs):
        for seed, wrong in tally.findings[known:]:
            print(f"seed {seed}: {wrong}\n    {COMMAND} {seed}", flush=True)
        known = len(tally.findings)
        if time.monotonic() - told_s > PROGRESS_S:
            told_s = time.monotonic()
            rate = tally.seeds / (told_s - began_s)
            print(f"{tally.seeds} of {len(seeds)}, {rate:.0f}/s, {known} findings", flush=True)
        if known >= FINDINGS_MAX:
            print("enough")
            break
    took_s = time.monotonic() - began_s
    print(f"{tally.seeds} seeds in {took_s:.0f} s, {known} findings")
    for mark, count in sorted(tally.marks.items()):
        print(f"    {count:9} {mark}")
    if tally.converged_s:
        ordered = sorted(tally.converged_s)
        print(f"converged after mending: p50 {ordered[len(ordered) // 2]:.2f} s,"
              f" p99 {ordered[len(ordered) * 99 // 100]:.2f} s, max {ordered[-1]:.2f} s")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
