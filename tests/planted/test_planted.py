"""The list of planted bugs fits the tree, and the quickest ones are really caught."""

from collections import Counter
from pathlib import Path

import pytest

from tests.planted.planting import ROOT, SIMULATION, Bug, load_bugs, planted
from tests.planted.run import Campaign, Fate

BUGS = load_bugs()
QUICK = ["suspect_never_dies", "logout_ends_nothing", "tie_break_dropped", "replay_window_off"]
QUICK_SEEDS = 40


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_be_planted(bug: Bug) -> None:
    """Every text occurs once, and what it becomes is Python."""
    assert planted(bug, ROOT / "clustersession")
    assert (bug.check == SIMULATION) != bool(bug.why_not_simulated)
    assert bug.check == SIMULATION or (ROOT / bug.check.partition("::")[0]).exists()


def test_names_are_unique() -> None:
    assert max(Counter(bug.name for bug in BUGS).values()) == 1


@pytest.mark.timeout(120)
def test_the_quickest_bugs_are_caught(tmp_path: Path) -> None:
    """The machinery works: the others are for ``python -m tests.planted.run``."""
    campaign = Campaign(tmp_path, QUICK_SEEDS)
    for bug in BUGS:
        if bug.name in QUICK:
            verdict = campaign.judge(bug)
            assert verdict.fate is Fate.CAUGHT, verdict
