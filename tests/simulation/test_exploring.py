"""Plans by Hypothesis; what it once found is replayed by test_corpus."""

import pytest

from tests.simulation.exploring import explore

EXAMPLES = 120


@pytest.mark.timeout(240)
def test_nothing_is_wrong_with_plans_that_hypothesis_makes_up() -> None:
    explore(EXAMPLES)
