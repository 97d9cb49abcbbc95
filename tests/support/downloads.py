"""Installs packages beside the environment of the tests, once, into a cache."""

import hashlib
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tests.support.apps import ROOT

PIP_S_MAX = 600


def cache_directory(kind: str) -> Path:
    """Where downloads of a kind are kept between runs."""
    chosen = os.environ.get("FRAMEWORKS_CACHE")
    if chosen:
        return Path(chosen) / kind
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "clustersession" / "frameworks" / kind


def install(name: str, python: str, requirements: Iterable[str]) -> Path:
    """Return a directory for sys.path with these packages; installed when not there yet.

    Raises RuntimeError with pip's words when they cannot be installed.
    """
    wanted = sorted(requirements)
    digest = hashlib.sha256(repr((python, wanted)).encode()).hexdigest()[:12]
    packages = cache_directory("packages") / f"{name}-{digest}"
    if not packages.exists():
        with NewDirectory(packages) as directory:
            pip(python, "install", "--target", str(directory), *wanted)
    return packages


class NewDirectory:
    """A directory that appears under its name only when it is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.{os.getpid()}.partial")

    def __enter__(self) -> Path:
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self._partial

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None and not self._path.exists():
            self._partial.rename(self._path)
        shutil.rmtree(self._partial, ignore_errors=True)


def own_requirements() -> list[str]:
    """Return what the package itself depends on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return list(project["dependencies"])


def pip(python: str, *arguments: str) -> None:
    """Run pip. Raises RuntimeError with its words when it fails."""
    result = subprocess.run(
        [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        capture_output=True, text=True, check=False, timeout=PIP_S_MAX,
    )
    if result.returncode:
        raise RuntimeError(f"pip {' '.join(arguments)}:\n{result.stderr[-2000:]}")
