"""Every plan that ever showed a defect, replayed."""

from pathlib import Path

import pytest

from tests.simulation.plan import Plan
from tests.simulation.story import run

PLANS = sorted((Path(__file__).parent / "corpus").glob("*.json"))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_what_was_wrong_once_is_right_now(path: Path) -> None:
    run(Plan.from_json(path.read_text()))


def test_plans_survive_json() -> None:
    for path in PLANS:
        plan = Plan.from_json(path.read_text())
        assert Plan.from_json(plan.to_json()) == plan
