"""Plants every bug of the lists in a copy of the tree and lets the suite look for it.

    python -m tests.planted.run [--only NAME] [--jobs 2] [--seeds 2000] [--swarm] [--explain]

A bug is caught when a plan fails with it that passes without it. Prints a table, and exits with 1
when a bug survives or does not fit the tree any more: the first is a hole in the suite, the second
a list to bring up to date.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from tests.planted.hunt import WITH_STORE
from tests.planted.planting import ROOT, SIMULATION, Bug, copy_tree, load_bugs, plant

SEEDS = 2000
KEPT_WITH_STORE = ("store_*.json",)
BUG_S_MAX = 900.0
PYTEST_FAILED = 1
# A bug that names what is not there any more is noticed by Python and not by the suite.
MISTYPED = ("NameError", "UnboundLocalError")
SAID_LENGTH_MAX = 110


class Fate(StrEnum):
    """What became of a bug."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    BROKEN = "BROKEN"


@dataclass(frozen=True)
class Verdict:
    """``place``: the plan or test that caught it; ``said``: what the checker said."""

    bug: Bug
    fate: Fate
    place: str = ""
    said: str = ""
    seconds: float = 0.0


class Campaign:
    """Judges bugs, each in a copy of one frozen copy of the tree."""

    def __init__(self, directory: Path, seeds: int, *, swarm_only: bool = False) -> None:
        self.base = directory / "base"
        self._directory = directory
        self._seeds = seeds
        self._kept = [] if swarm_only else ["scripts", "corpus"]
        copy_tree(ROOT, self.base)

    def tree_with(self, bug: Bug) -> Path:
        """A copy with the bug planted."""
        tree = self._directory / bug.name
        copy_tree(self.base, tree)
        plant(bug, tree)
        return tree

    def judge(self, bug: Bug) -> Verdict:
        """Plant a bug and look for it."""
        began_s = time.monotonic()
        try:
            tree = self.tree_with(bug)
            check = self._simulate if bug.is_simulated else self._test
            verdict = check(bug, tree)
        except ValueError as error:
            verdict = Verdict(bug, Fate.BROKEN, said=str(error))
        return replace(verdict, seconds=time.monotonic() - began_s)

    def _simulate(self, bug: Bug, tree: Path) -> Verdict:
        seeds = f"0-{self._seeds - 1}"
        if bug.check == SIMULATION:
            places = [*self._kept, seeds]
        else:
            places = [*(KEPT_WITH_STORE if self._kept else ()), WITH_STORE + seeds]
        found = hunt_in(tree, places)
        if isinstance(found, str):
            return Verdict(bug, Fate.BROKEN, said=found)
        if found is None:
            return Verdict(bug, Fate.SURVIVED, f"{self._seeds} seeds")
        place = found["place"]
        if hunt_in(self.base, [place.removeprefix("seed ")]) is not None:
            return Verdict(bug, Fate.BROKEN, place, "the same fails without the bug")
        if found["wrong"].startswith(MISTYPED):
            return Verdict(bug, Fate.BROKEN, place, found["wrong"])
        return Verdict(bug, Fate.CAUGHT, place, found["wrong"])

    def _test(self, bug: Bug, tree: Path) -> Verdict:
        code, text = run_tests(tree, bug.check)
        if code == 0:
            return Verdict(bug, Fate.SURVIVED, bug.check)
        if code != PYTEST_FAILED or run_tests(self.base, bug.check)[0] != 0:
            return Verdict(bug, Fate.BROKEN, bug.check, text)
        if any(word in text for word in MISTYPED):
            return Verdict(bug, Fate.BROKEN, bug.check, text)
        return Verdict(bug, Fate.CAUGHT, bug.check, text)


def hunt_in(tree: Path, places: list[str]) -> dict[str, str] | str | None:
    """What ``hunt`` finds in a tree; a text when the tree does not even run."""
    command = [sys.executable, "-m", "tests.planted.hunt", *places]
    try:
        done = subprocess.run(
            command, cwd=tree, capture_output=True, text=True, check=False, timeout=BUG_S_MAX
        )
    except subprocess.TimeoutExpired:
        return f"not through after {BUG_S_MAX:.0f} s; give it fewer seeds"
    if done.returncode:
        return "does not run: " + (done.stderr.strip().splitlines() or ["killed"])[-1]
    found: dict[str, str] | None = json.loads(done.stdout.splitlines()[-1])
    return found


def run_tests(tree: Path, path: str) -> tuple[int, str]:
    """Exit status of pytest in a tree, and the last failure."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *path.split()]
    done = subprocess.run(
        command, cwd=tree, capture_output=True, text=True, check=False, timeout=BUG_S_MAX
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, lines[-1] if lines else done.stdout[-SAID_LENGTH_MAX:].strip()


def tell(verdict: Verdict) -> None:
    """Print one row of the table."""
    said = " ".join(verdict.said.split())[:SAID_LENGTH_MAX]
    print(
        f"{verdict.bug.name:40} {verdict.fate:8} {verdict.seconds:7.1f}  "
        f"{verdict.place}: {said}".rstrip(": "),
        flush=True,
    )
    if verdict.fate is Fate.SURVIVED:
        print(f"{'':40} {verdict.bug.means}")


def explain(campaign: Campaign, verdict: Verdict) -> None:
    """Tell the story of a catch, with its plan shortened."""
    place = verdict.place.removeprefix("seed ")
    options = ["--seed", place]
    if place.endswith(".json"):
        options = ["--plan", f"tests/simulation/corpus/{place}"]
    elif place.startswith(WITH_STORE):
        options = ["--store", "--seed", place.removeprefix(WITH_STORE)]
    elif not place.isdigit():
        print(f"\n=== {verdict.bug.name}: the story of tests/simulation/test_scripts.py: {place}")
        return
    tree = campaign.base.parent / verdict.bug.name
    command = [sys.executable, "-m", "tests.simulation.swarm", *options]
    print(f"\n=== {verdict.bug.name}: {verdict.bug.means}", flush=True)
    subprocess.run(command, cwd=tree, check=False)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Plant bugs and see that the suite finds them.")
    parser.add_argument("--only", action="append", help="a bug's name, or a part of it")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many to try at most")
    parser.add_argument("--swarm", action="store_true", help="without scripts and kept plans")
    parser.add_argument("--explain", action="store_true", help="tell each catch as a story")
    options = parser.parse_args()
    bugs = [
        bug for bug in load_bugs()
        if not options.only or any(part in bug.name for part in options.only)
    ]
    if not bugs:
        parser.error(f"no bug has one of these in its name: {', '.join(options.only)}")
    with tempfile.TemporaryDirectory(prefix="planted-") as directory:
        campaign = Campaign(Path(directory), options.seeds, swarm_only=options.swarm)
        verdicts: list[Verdict] = []
        print(f"{'bug':40} {'fate':8} {'seconds':>7}  found by")
        with ThreadPoolExecutor(options.jobs) as pool:
            for verdict in pool.map(campaign.judge, bugs):
                verdicts.append(verdict)
                tell(verdict)
        escaped = sum(verdict.fate is not Fate.CAUGHT for verdict in verdicts)
        print(f"{len(bugs)} bugs planted, {len(bugs) - escaped} caught")
        for verdict in verdicts:
            if options.explain and verdict.fate is Fate.CAUGHT and verdict.bug.is_simulated:
                explain(campaign, verdict)
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
