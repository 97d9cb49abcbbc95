"""In CI nothing is skipped: what tests need is installed, and what cannot run is a failure."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import require_programs, require_root

ROOT = Path(__file__).parents[1]
MISSING = "no-such-server"
# Names of balancers beside their program, and what only tests marked extended need.
ELSEWHERE = {"mod_proxy", "mod_jk", "chromium", "chromedriver"}
NEEDS = re.compile(r"(?:require_programs\(|needs=\()([^)]*)\)")


def needed() -> set[str]:
    """Every program that a test names as needed."""
    text = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    lists = [match[1] for match in NEEDS.finditer(text)]
    return {name for names in lists for name in re.findall(r'"([a-z][\w-]*)"', names)}


def test_every_needed_program_is_installed_in_ci() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    installed = set(re.findall(r"has ([\w-]+)", text))
    assert {"haproxy", "nft", "unshare", "bridge"} <= needed()
    assert needed() - ELSEWHERE <= installed


NOT_IN_CI = {
    "serve": "runs until it is ended; tests/tools/demo/test_run.py runs what it calls",
    "clean": "takes away what the others need",
}
"""Commands of the Makefile that CI does not run, and why."""


def test_every_command_of_the_makefile_runs_in_ci() -> None:
    """In its smallest form, lest it breaks unseen."""
    commands = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    script = (ROOT / ".ci" / "run").read_text()
    run = set(re.findall(r"^ *timed (?:timeout .*)?make ([a-z-]+)", script, re.MULTILINE))
    assert commands - run == NOT_IN_CI.keys()


def test_make_lets_python_keep_what_it_has_compiled() -> None:
    """Half of what a process of ours costs at its start, and the tests start a thousand."""
    told = subprocess.run(
        ["make", "--no-print-directory", "--eval",
         'told:; @echo "told [$$PYTHONDONTWRITEBYTECODE]"', "told"],
        cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True,
        text=True, check=True,
    )
    assert told.stdout.splitlines()[-1] == "told []"


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_what_cannot_run_is_a_failure_in_ci_and_a_skip_elsewhere(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(outcome, match="a namespace needs root"):
        require_root("a namespace")
    with pytest.raises(outcome, match=f"not installed here: {MISSING}"):
        require_programs(MISSING)
