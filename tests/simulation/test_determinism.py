"""The same plan takes the same course, in another process and with another hash seed as well."""

import os
import subprocess
import sys

import pytest

from tests.simulation.drawing import plan_of, plan_with_store
from tests.simulation.story import run

SEEDS = [1, 16, 28, 59]
SCRIPT = """
import sys
from tests.simulation import drawing
from tests.simulation.story import run
draw = getattr(drawing, sys.argv[1])
print(*(run(draw(int(seed))).trace_hash for seed in sys.argv[2:]))
"""


def _hashes(hash_seed: str, draw: str = "plan_of") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, draw, *map(str, SEEDS)], check=True, capture_output=True,
        text=True, env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    return done.stdout.split()


@pytest.mark.timeout(120)
def test_a_plan_takes_the_same_course_everywhere() -> None:
    here = [run(plan_of(seed)).trace_hash for seed in SEEDS]
    assert len(set(here)) == len(SEEDS)
    assert here == _hashes("0") == _hashes("1")


def test_a_plan_with_a_store_takes_the_same_course_everywhere() -> None:
    here = [run(plan_with_store(seed)).trace_hash for seed in SEEDS]
    assert len(set(here)) == len(SEEDS)
    assert here == _hashes("0", "plan_with_store") == _hashes("1", "plan_with_store")


def test_another_plan_takes_another_course() -> None:
    plan = plan_of(16)
    before = run(plan).trace_hash
    plan.steps.append(["wait", 1.0])
    assert run(plan).trace_hash != before
