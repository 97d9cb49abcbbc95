"""Seeded plans, many of them: one number draws the cluster, its settings and what happens to it.

    python -m tests.simulation.swarm 1000              seeds 0 to 999
    python -m tests.simulation.swarm 5000-5999 --jobs 2
    python -m tests.simulation.swarm 1000 --store      the same hosts with a store and no links
    python -m tests.simulation.swarm 1000 --power      power cuts in every plan, not in a quarter
    python -m tests.simulation.swarm 100 --many        24 to 100 hosts
    python -m tests.simulation.swarm --seed 4711       one seed, its story printed
    python -m tests.simulation.swarm --plan FILE       a plan that was kept

A failing seed prints the command that replays it, and its plan shortened as far as it still fails.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.simulation.drawing import (
    plan_of,
    plan_with_many,
    plan_with_power,
    plan_with_store,
)
from tests.simulation.plan import Plan
from tests.simulation.shorten import shorten
from tests.simulation.story import Story

CHUNK = 50
PROGRESS_S = 15.0
FINDINGS_MAX = 10
FLAGS: dict[Callable[[int], Plan], str] = {
    plan_with_store: " --store", plan_with_power: " --power", plan_with_many: " --many",
}
COMMAND = "python -m tests.simulation.swarm --seed"


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


def try_seeds(seeds: Iterable[int], draw: Callable[[int], Plan] = plan_of) -> Tally:
    """Run some seeds, every fiftieth twice: the same plan must take the same course."""
    tally = Tally()
    for seed in seeds:
        tally.seeds += 1
        story = Story(draw(seed))
        try:
            report = story.run()
            if seed % 50 == 0 and Story(draw(seed)).run().trace_hash != report.trace_hash:
                raise AssertionError("the same plan took another course")
        except Exception:
            tally.findings.append((seed, problem(draw(seed)) or "only sometimes"))
        else:
            tally.marks.update(report.marks)
            tally.converged_s.append(report.converged_s)
    return tally


def campaign(
    seeds: range, jobs: int, draw: Callable[[int], Plan] = plan_of
) -> Iterator[Tally]:
    """The tally so far, after each chunk."""
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    total = Tally()
    if jobs == 1:
        for chunk in chunks:
            total.add(try_seeds(chunk, draw))
            yield total
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for tally in pool.imap_unordered(partial(try_seeds, draw=draw), chunks):
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
    parser.add_argument("--store", action="store_true", help="hosts with a store, not with links")
    parser.add_argument("--power", action="store_true", help="power cuts in every plan")
    parser.add_argument("--many", action="store_true", help="24 to 100 hosts")
    options = parser.parse_args()
    chosen = [draw for draw, flag in FLAGS.items() if getattr(options, flag.strip(" -"))]
    draw = chosen[0] if chosen else plan_of
    if options.plan is not None or options.seed is not None:
        plan = (
            draw(options.seed) if options.plan is None
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
    return _report(seeds, options.jobs, draw)


def _report(seeds: range, jobs: int, draw: Callable[[int], Plan]) -> int:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    print(f"seeds {seeds.start} to {seeds.stop - 1}, {jobs} jobs, commit {commit or 'unknown'}")
    began_s = told_s = time.monotonic()
    tally, known = Tally(), 0
    for tally in campaign(seeds, jobs, draw):
        for seed, wrong in tally.findings[known:]:
            flag = FLAGS.get(draw, "")
            print(f"seed {seed}: {wrong}\n    {COMMAND} {seed}{flag}", flush=True)
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
