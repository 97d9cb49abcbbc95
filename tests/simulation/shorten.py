"""Makes a failing plan shorter: delta debugging over its steps (Zeller, Hildebrandt 2002)."""

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.plan import Plan, Step

RUNS_MAX = 400


def shorten(plan: Plan, fails: Callable[[Plan], bool], runs_max: int = RUNS_MAX) -> Plan:
    """A plan with as few of the steps as still fail; tries at most ``runs_max`` of them."""
    steps, runs = list(plan.steps), 0

    def still_fails(tried: list[Step]) -> bool:
        nonlocal runs
        runs += 1
        return fails(replace(plan, steps=tried))

    size = max(len(steps) // 2, 1)
    while runs < runs_max:
        place, shorter = 0, False
        while place < len(steps) and runs < runs_max:
            without = steps[:place] + steps[place + size :]
            if still_fails(without):
                steps, shorter = without, True
            else:
                place += size
        if size == 1 and not shorter:
            break
        size = max(size // 2, 1)
    return replace(plan, steps=steps)
