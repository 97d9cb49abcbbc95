"""The wheel in an environment of its own, away from the repository: what a user installs."""

import secrets
import subprocess
from pathlib import Path

import pytest

from tests.documents import blocks
from tests.package.building import ROOT, build, clean_environment, without_the_repository

pytestmark = [pytest.mark.extended, pytest.mark.timeout(300)]

VISIT_TWICE = """
client = app.test_client()
assert client.get("/").json == {"visits": 1}
assert client.get("/").json == {"visits": 2}
assert client.get_cookie("CLUSTERSESSION") is not None
import clustersession
print(clustersession.__file__)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, from the registry of pip's settings."""
    directory = tmp_path_factory.mktemp("installed")
    wheel = build(ROOT, directory / "dist", 0).wheel
    return clean_environment(directory / "venv", f"{wheel}[demo]")


def run(python: Path, *arguments: str, cwd: Path, **settings: str) -> str:
    """Run it outside the repository; returns what it prints. -P: its folder is no import path."""
    variables = {f"CLUSTERSESSION_{name.upper()}": value for name, value in settings.items()}
    done = subprocess.run(
        [python, "-P", *arguments], cwd=cwd, env={**without_the_repository(), **variables},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_example_of_the_readme_runs(python: Path, tmp_path: Path) -> None:
    first = next(block for block in blocks("python") if block.document == ROOT / "README.md")
    printed = run(
        python, "-c", first.text + VISIT_TWICE, cwd=tmp_path, state_dir=str(tmp_path),
        secret=secrets.token_urlsafe(32), bind="127.0.0.1", agent="thread", ack="none",
        multicast_address="",
    )  # fmt: skip
    assert printed.strip().startswith(str(python.parents[1]))


def test_the_demo_runs(python: Path, tmp_path: Path) -> None:
    printed = run(python, "-m", "clustersession", "demo", cwd=tmp_path)
    assert "notices nothing" in printed


def test_the_command_is_there(python: Path) -> None:
    done = subprocess.run(
        [python.with_name("clustersession"), "--version"], env=without_the_repository(),
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout.startswith("clustersession")


def test_nothing_of_the_tests_can_be_imported(python: Path, tmp_path: Path) -> None:
    names = ("tests", "benchmarks", "examples", "pytest")
    find = f"from importlib.util import find_spec; print(*filter(find_spec, {names}))"
    assert run(python, "-c", find, cwd=tmp_path).strip() == ""
