"""The list of planted bugs fits the tree, and the quickest ones are really caught."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.planted.planting import ROOT, Bug, load_bugs, planted
from tests.planted.run import Campaign, Fate

BUGS = load_bugs()
QUICK = ["suspect_never_dies", "logout_ends_nothing", "tie_break_dropped", "replay_window_off"]
QUICK_SEEDS = 40


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_be_planted(bug: Bug) -> None:
    """Every text occurs once, and what it becomes is Python."""
    assert planted(bug, ROOT / "clustersession")
    assert bug.is_simulated != bool(bug.why_not_simulated)
    assert bug.is_simulated or (ROOT / bug.check.partition("::")[0]).exists()


def test_bugs_name_only_what_is_there(tmp_path: Path) -> None:
    """Else Python would find them, when the line runs, and not the suite."""
    for bug in BUGS:
        for path, text in planted(bug, ROOT / "clustersession").items():
            if path.suffix == ".py":
                (tmp_path / f"{bug.name}.{path.name}").write_text(text)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", tmp_path]
    looked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert looked.returncode == 0, looked.stdout + looked.stderr


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
