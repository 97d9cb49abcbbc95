"""Downloads source packages and what they need, once, into the cache."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

from tests.frameworks.entry import ROOT, Entry

FETCH_S_MAX = 300


def cache_directory() -> Path:
    """Where downloads are kept between runs."""
    chosen = os.environ.get("FRAMEWORKS_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "clustersession" / "frameworks"


def interpreter(entry: Entry) -> str | None:
    """Return a Python that is new enough for a framework: this one, or one installed beside it."""
    needed = tuple(map(int, entry.python.split("."))) if entry.python else (3, 11)
    if sys.version_info >= needed:
        return sys.executable
    beside = Path(sys.base_prefix).resolve().parent.glob("*/bin/python3")
    named = (shutil.which(f"python3.{minor}") for minor in range(needed[1], needed[1] + 4))
    for candidate in (*filter(None, named), *map(str, sorted(beside))):
        found = subprocess.run(
            [candidate, "-c", f"import sys; sys.exit(sys.version_info < {needed})"],
            capture_output=True, check=False,
        )
        if found.returncode == 0:
            return candidate
    return None


def fetch(entry: Entry) -> tuple[Path, Path]:
    """The unpacked source package and a directory for sys.path; downloaded when not there yet.

    Raises RuntimeError with pip's words when something cannot be downloaded.
    """
    python = interpreter(entry)
    if python is None:
        raise RuntimeError(f"{entry.name} needs Python {entry.python}, and none is installed")
    requirements = entry.requirements
    if python != sys.executable:
        # Another interpreter has nothing of our environment.
        requirements += (*_own_requirements(), "pytest", "pytest-asyncio")
    wanted = hashlib.sha256(repr((python, sorted(requirements))).encode()).hexdigest()[:12]
    source = cache_directory() / "source" / entry.source
    packages = cache_directory() / "packages" / f"{entry.name}-{wanted}"
    if not source.exists():
        with _new(source) as directory:
            _pip(
                python, "download", "--no-deps", "--no-binary", _name(entry.source),
                "--dest", str(directory), entry.source,
            )
            (archive,) = directory.glob("*.tar.gz")
            with tarfile.open(archive) as tar:
                tar.extractall(directory, filter="data")
            archive.unlink()
    if not packages.exists():
        with _new(packages) as directory:
            _pip(python, "install", "--target", str(directory), *requirements)
    (top,) = source.iterdir()
    return top, packages


class _new:
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


def _name(requirement: str) -> str:
    return requirement.partition("==")[0]


def _own_requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return list(project["dependencies"])


def _pip(python: str, *arguments: str) -> None:
    result = subprocess.run(
        [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        capture_output=True, text=True, check=False, timeout=FETCH_S_MAX,
    )
    if result.returncode:
        raise RuntimeError(f"pip {' '.join(arguments)}:\n{result.stderr[-2000:]}")
