"""What runs the tests under each Python: it finds them, counts, and says what it missed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.frameworks import interpreters
from tests.frameworks.interpreters import Outcome, counted, find, main

HERE = "{}.{}".format(*sys.version_info[:2])
REPORT = '<testsuites><testsuite tests="9" skipped="2" failures="{}" errors="{}"/></testsuites>'


def test_an_interpreter_that_is_here_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters.shutil, "which", {f"python{HERE}": sys.executable}.get)
    found = find(HERE)
    assert found is not None
    asked = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    assert asked.stdout.startswith(f"Python {HERE}.")
    # This one is not free-threaded, whatever it is called.
    monkeypatch.setattr(interpreters.shutil, "which", lambda name: sys.executable)
    assert find(f"{HERE}t") is None
    assert find("3.4") is None


def test_a_report_is_counted(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    assert not counted("3.11", "adapters", report).is_good
    report.write_text(REPORT.format(0, 0))
    outcome = counted("3.11", "adapters", report)
    assert outcome == Outcome("3.11", "adapters", 7, 2, 0)
    assert outcome.is_good
    assert outcome.row() == "| 3.11 | adapters | 7 passed, 2 skipped, 0 failed |"
    report.write_text(REPORT.format(1, 1))
    assert counted("3.11", "adapters", report) == Outcome("3.11", "adapters", 5, 2, 2)


@pytest.mark.parametrize(("failing", "status"), [("3.12", 1), ("3.14", 0), ("", 0)])
def test_promised_versions_must_pass_and_what_is_missed_is_said(
    failing: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(version: str, interpreter: Path, given: list[str]) -> list[Outcome]:
        return [Outcome(version, "adapters", 5, 0, int(version == failing))]

    monkeypatch.setattr(interpreters, "run_python", run)
    monkeypatch.setattr(interpreters, "find", lambda v: None if v == "3.11" else Path(v))
    assert main([]) == status
    printed = capsys.readouterr().out
    assert "| 3.11 | | missed, not found here |" in printed
    assert "| 3.13 | adapters | 5 passed, 0 skipped, 0 failed |" in printed


def test_a_short_run_under_this_python_needs_no_further_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = []

    def run(version: str, suite: str, python: Path, given: list[str]) -> Outcome:
        ran.append((version, python))
        return Outcome(version, suite, 1, 0, 0)

    def make(version: str, interpreter: Path) -> Path:
        return Path("of its own")

    monkeypatch.setattr(interpreters, "run_suite", run)
    monkeypatch.setattr(interpreters, "environment", make)
    monkeypatch.setattr(interpreters.subprocess, "run", lambda *_, **__: None)
    interpreters.run_python(HERE, Path("python"), ["-q", "tests/adapters/test_quart.py"])
    assert ran == [(HERE, Path(sys.executable))]
    ran.clear()
    interpreters.run_python(HERE, Path("python"), [])
    assert {python for _, python in ran} == {Path("of its own")}


def test_with_no_interpreter_at_all_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters, "find", lambda version: None)
    assert main([]) == 1
