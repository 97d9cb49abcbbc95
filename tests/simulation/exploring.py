"""Plans that Hypothesis makes up, and shrinks to a readable story when they fail.

    python -m tests.simulation.exploring --minutes 10

Faults are steps and not probabilities, so there is no seed to shrink. A failing plan is kept in
the corpus, shrunk, and replayed by the tests from then on.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from tests.simulation.plan import Plan, Step
from tests.simulation.story import run

CORPUS = Path(__file__).parent / "corpus"
FOUND = CORPUS / "found_by_exploring.json"
EXAMPLES_A_ROUND = 500

hosts = st.integers(0, 3)
browsers = st.integers(0, 2)
short_ms = st.sampled_from([0.0, 0.3, 1.0, 1.1, 2.0, 10.0])
long_ms = st.sampled_from([100.0, 700.0, 2000.0, 4000.0, 11_000.0])
names = st.sampled_from(["x", "y"])
workers = st.integers(0, 1)


def _steps(kind: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(kind), *arguments).map(list)


def _visits(*actions: str) -> st.SearchStrategy[Step]:
    thinking_ms = st.sampled_from([0.0, 0.0, 5.0, 300.0])
    return _steps("visit", browsers, hosts, workers, st.sampled_from(actions), names, thinking_ms)


STEPS = st.one_of(
    _visits("set", "nested", "read"),
    _visits("set", "delete", "rotate", "end"),
    _visits("login", "revoke", "local"),
    _steps("wait", short_ms),
    _steps("wait", long_ms),
    *(_steps(kind, hosts) for kind in (
        "kill", "off", "start", "agent", "wipe", "sync", "fall_back", "leave", "drain", "full",
        "space", "isolate",
    )),
    *(_steps(kind, hosts, hosts) for kind in ("cut", "deafen", "reset")),
    _steps("split", st.integers(1, 3)),
    _steps("heal"),
    _steps("worker", hosts, workers),
    _steps("pause", hosts, long_ms),
    _steps("step", hosts, st.sampled_from([-60_000.0, -1.0, 1.0, 60_000.0])),
    *(_steps(kind, hosts, hosts, st.integers(1, 3)) for kind in ("drop", "double")),
    *(_steps(kind, hosts, hosts, long_ms) for kind in ("delay", "slow", "clog")),
)  # fmt: skip

PLANS = st.builds(
    Plan,
    hosts=st.sampled_from([3, 2, 4]),
    tiny=st.booleans(),
    ahead=st.booleans(),
    settings=st.fixed_dictionaries({
        "carrier": st.sampled_from(["tcp", "multicast", "auto"]),
        "ack": st.sampled_from(["one", "all", "none"]),
    }),
    steps=st.lists(STEPS, min_size=2, max_size=30),
)


def explore(examples: int, seed: int | None = None) -> None:
    """Run so many plans; with a seed always the same ones. Keeps the shortest that fails."""

    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, derandomize=seed is None,
        suppress_health_check=list(HealthCheck), print_blob=False,
        phases=(Phase.generate, Phase.shrink),
    )
    @given(PLANS)
    def holds(plan: Plan) -> None:
        try:
            run(plan)
        except Exception:
            # The last one that fails is the one that Hypothesis has shrunk to.
            FOUND.write_text(plan.to_json())
            raise

    if seed is not None:
        holds = hypothesis.seed(seed)(holds)
    holds()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Let Hypothesis make up plans.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    options = parser.parse_args()
    began_s, rounds = time.monotonic(), 0
    while time.monotonic() - began_s < options.minutes * 60:
        seed = options.seed + rounds
        try:
            explore(EXAMPLES_A_ROUND, seed)
        except Exception as error:
            print(f"round {seed}: {type(error).__name__}: {error}")
            print(f"kept; replay: python -m tests.simulation.swarm --plan {FOUND}")
            return 1
        rounds += 1
        took_s = time.monotonic() - began_s
        print(f"{rounds * EXAMPLES_A_ROUND} plans in {took_s:.0f} s, no finding", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
