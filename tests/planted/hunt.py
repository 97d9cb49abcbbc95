"""Looks for what is wrong with the tree it runs in: kept plans first, then seeds of the swarm.

    python -m tests.planted.hunt corpus 0-499       in the directory of the tree

Prints one line of JSON: where something was found and what, or nothing. ``run`` calls it in copies
of the tree with a bug planted, and again without the bug.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from clustersession import __file__ as package_file
from tests.simulation.plan import Plan
from tests.simulation.swarm import plan_of, problem

PLAN_CPU_S_MAX = 60.0
MEMORY_BYTES_MAX = 3 * 2**30
CORPUS = Path(__file__).parents[1] / "simulation" / "corpus"


class Hangs(BaseException):
    """A plan does not come to an end."""


def plans(places: list[str]) -> Iterator[tuple[str, Plan]]:
    """Name and plan of everything at some places: "corpus", the name of a kept plan, seeds."""
    for place in places:
        first, _, last = place.rpartition("-")
        if place == "corpus":
            for path in sorted(CORPUS.glob("*.json")):
                yield path.name, Plan.from_json(path.read_text())
        elif place.endswith(".json"):
            yield place, Plan.from_json((CORPUS / place).read_text())
        else:
            for seed in range(int(first or last), int(last) + 1):
                yield f"seed {seed}", plan_of(seed)


def hunt(places: list[str]) -> dict[str, str] | None:
    """The first thing that is wrong: its place and what was said."""
    for name, plan in plans(places):
        signal.setitimer(signal.ITIMER_PROF, PLAN_CPU_S_MAX)
        try:
            wrong = problem(plan)
        except Hangs:
            wrong = f"hangs: not through after {PLAN_CPU_S_MAX:.0f} s"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if wrong is not None:
            return {"place": name, "wrong": wrong}
    return None


def _give_up(number: int, frame: FrameType | None) -> None:
    raise Hangs


def main() -> int:
    """The command line."""
    here = Path(package_file).resolve().parents[1]
    if here != Path.cwd().resolve():
        raise SystemExit(f"the product comes from {here} and not from {os.getcwd()}")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    signal.signal(signal.SIGPROF, _give_up)
    print(json.dumps(hunt(sys.argv[1:])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
