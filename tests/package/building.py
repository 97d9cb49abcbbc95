"""Builds the distributions, and runs what they install away from this repository."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


class Distributions(NamedTuple):
    """What ``python -m build`` makes."""

    sdist: Path
    wheel: Path


def build(source: Path, into: Path, epoch_s: int) -> Distributions:
    """Build both, the wheel out of the sdist, by the build tools of this environment."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch_s)}
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", into, source],
        env=environment, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (sdist,), (wheel,) = into.glob("*.tar.gz"), into.glob("*.whl")
    return Distributions(sdist, wheel)


def clean_environment(directory: Path, *requirements: str) -> Path:
    """Make a virtual environment that has these and what they need; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", directory], check=True, timeout=60)
    python = directory / "bin" / "python"
    subprocess.run([python, *PIP, "install", *requirements], check=True, timeout=300)
    return python


def without_the_repository() -> dict[str, str]:
    """Our variables for a process that is to find nothing of this environment."""
    ours = ("CLUSTERSESSION_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
