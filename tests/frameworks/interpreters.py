"""Runs the adapters' tests under every Python here, and each series of Django: make versions.

Each interpreter has a virtual environment of its own, with the newest frameworks that pip finds for
it: which those are depends on the Python, as with Django 6.1 (3.12) and Quart 0.23 (3.13). At the
end stands a table of what ran with which counts, and of the interpreters that were not found.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
TRIED = ("3.14", "3.13t", "3.14t")
"""Not promised yet; t: a free-threaded build. See docs/versions.md."""
DJANGO = ("4.2", "5.2")
"""The series beside the newest one."""
ADAPTERS = ("tests/adapters", "tests/agent/test_worker_server.py")
"""And where a newer Python was seen to behave in another way."""
SHOWN = ("django", "fastapi", "flask", "litestar", "mcp", "quart", "starlette")
ASK = (
    "import importlib.metadata as m, sys; print(*(n + ' ' + m.version(n) for n in sys.argv[1:]))"
)
WHO = (
    "import sys, sysconfig; t = 't' if sysconfig.get_config_var('Py_GIL_DISABLED') else '';"
    "print('%d.%d' % sys.version_info[:2] + t)"
)
OWN = "{}.{}".format(*sys.version_info[:2])
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


class Outcome(NamedTuple):
    """What one run of a suite came to."""

    python: str
    suite: str
    passed: int
    skipped: int
    failed: int
    said: str = ""

    @property
    def is_good(self) -> bool:
        """Whether tests ran and none failed."""
        return self.passed > 0 and self.failed == 0 and not self.said

    def row(self) -> str:
        """A line of the table."""
        counts = self.said or f"{self.passed} passed, {self.skipped} skipped, {self.failed} failed"
        return f"| {self.python} | {self.suite} | {counts} |"


def find(version: str) -> Path | None:
    """Find an interpreter on the PATH or among those of pyenv; None without one that starts."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version.rstrip('t')}.*/bin/python"))
    on_path = shutil.which(f"python{version}")
    for candidate in [*([on_path] if on_path else []), *reversed(pyenv)]:
        asked = subprocess.run([candidate, "-c", WHO], capture_output=True, text=True, check=False)
        if asked.stdout.strip() == version:
            return Path(candidate)
    return None


def environment(version: str, interpreter: Path) -> Path:
    """Make or renew the virtual environment of a version; returns its interpreter."""
    directory = ROOT / f".venv-{version}"
    python = directory / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", directory], check=True)
    subprocess.run(
        [python, *PIP, "--upgrade", "--upgrade-strategy", "eager", "--editable", ".[test]"],
        cwd=ROOT, check=True,
    )  # fmt: skip
    return python


def run_suite(version: str, suite: str, python: Path, arguments: Sequence[str]) -> Outcome:
    """Run pytest, whose output is shown as it comes, and count."""
    print(f"== Python {version}, {suite}", flush=True)
    subprocess.run([python, "-c", ASK, *SHOWN], check=True)
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        subprocess.run(
            [python, "-m", "pytest", f"--junit-xml={report}", *arguments], cwd=ROOT, check=False
        )
        return counted(version, suite, report)


def counted(version: str, suite: str, report: Path) -> Outcome:
    """Read the counts of pytest's report; without one, it did not come so far."""
    if not report.exists():
        return Outcome(version, suite, 0, 0, 0, "did not run")
    found = ElementTree.parse(report).find("testsuite")
    assert found is not None
    names = ("tests", "skipped", "failures", "errors")
    tests, skipped, *failed = (int(found.get(name, 0)) for name in names)
    return Outcome(version, suite, tests - skipped - sum(failed), skipped, sum(failed))


def run_python(version: str, interpreter: Path, given: Sequence[str]) -> list[Outcome]:
    """Run everything under one interpreter; what was given to pytest, in the place of all."""
    if given and version == OWN:
        # Where that runs nothing is installed, so this environment will do.
        return [run_suite(version, " ".join(given), Path(sys.executable), given)]
    try:
        python = environment(version, interpreter)
    except subprocess.CalledProcessError:
        return [Outcome(version, "installing", 0, 0, 0, "something it needs cannot be installed")]
    if given:
        return [run_suite(version, " ".join(given), python, given)]
    outcomes = [run_suite(version, "adapters", python, ["-q", *ADAPTERS])]
    for series in DJANGO:
        subprocess.run([python, *PIP, f"django~={series}.0"], check=True)
        outcomes.append(
            run_suite(version, f"Django {series}", python, ["-q", "tests/adapters/django"])
        )
    return outcomes


def main(arguments: Sequence[str]) -> int:
    """Run; 1 when tests failed under a promised version, or no interpreter was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.frameworks.interpreters")
    parser.add_argument("--only", choices=[*VERSIONS, *TRIED], help="one version instead of all")
    options, given = parser.parse_known_args(arguments)
    wanted = [options.only] if options.only else [*VERSIONS, *TRIED]
    interpreters = {version: find(version) for version in wanted}
    outcomes = [
        outcome for version, interpreter in interpreters.items() if interpreter is not None
        for outcome in run_python(version, interpreter, given)
    ]
    print("| Python | suite | result |", "|---|---|---|", sep="\n")
    for outcome in outcomes:
        print(outcome.row())
    for version in (version for version, found in interpreters.items() if found is None):
        print(f"| {version} | | missed, not found here |")
    promised = [outcome for outcome in outcomes if outcome.python not in TRIED or options.only]
    return 0 if promised and all(outcome.is_good for outcome in promised) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
