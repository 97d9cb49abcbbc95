"""Looks for what is wrong with the tree it runs in: scripts, kept plans, then seeds of the swarm.

    python -m tests.planted.hunt scripts corpus 0-499       in the directory of the tree

Prints one line of JSON: where something was found and what, or nothing. ``run`` calls it in copies
of the tree with a bug planted, and again without the bug.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType

from clustersession import __file__ as package_file
from tests.simulation import test_scripts
from tests.simulation.drawing import plan_of, plan_with_store
from tests.simulation.plan import Plan
from tests.simulation.swarm import problem

PLAN_CPU_S_MAX = 60.0
MEMORY_BYTES_MAX = 3 * 2**30
Attempt = Callable[[], str | None]
WITH_STORE = "store:"
"""Stands before seeds that are drawn with a store."""
CORPUS = Path(__file__).parents[1] / "simulation" / "corpus"


class Hangs(BaseException):
    """A plan does not come to an end."""


def attempts(places: list[str]) -> Iterator[tuple[str, Attempt]]:
    """Name of everything at some places, and a call that says what is wrong with it, if anything.

    A place is "scripts", "corpus", the name of one script or kept plan, a seed, or FROM-TO, with
    "store:" before it for plans with a store.
    """
    for place in places:
        if place in ("scripts", *test_scripts.SCRIPTS):
            for name in test_scripts.SCRIPTS if place == "scripts" else [place]:
                yield name, partial(_wrong_with_script, name)
        elif place == "corpus" or place.endswith(".json"):
            for path in sorted(CORPUS.glob("*.json" if place == "corpus" else place)):
                yield path.name, partial(problem, Plan.from_json(path.read_text()))
        else:
            kind = WITH_STORE if place.startswith(WITH_STORE) else ""
            draw = plan_with_store if kind else plan_of
            first, _, last = place.removeprefix(kind).rpartition("-")
            for seed in range(int(first or last), int(last) + 1):
                yield f"{kind or 'seed '}{seed}", partial(problem, draw(seed))


def _wrong_with_script(name: str) -> str | None:
    try:
        test_scripts.test_the_nodes_tell_this_story(name)
    except AssertionError as error:
        return f"the nodes tell another story: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def hunt(places: list[str]) -> dict[str, str] | None:
    """The first thing that is wrong: its place and what was said."""
    for name, attempt in attempts(places):
        signal.setitimer(signal.ITIMER_PROF, PLAN_CPU_S_MAX)
        try:
            wrong = attempt()
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
