"""Downloads source packages and what they need, once, into the cache."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.frameworks.entry import Entry

FETCH_S_MAX = 300


def cache_directory() -> Path:
    """Where downloads are kept between runs."""
    chosen = os.environ.get("FRAMEWORKS_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "clustersession" / "frameworks"


def fetch(entry: Entry) -> tuple[Path, Path]:
    """The unpacked source package and a directory for sys.path; downloaded when not there yet.

    Raises RuntimeError with pip's words when something cannot be downloaded.
    """
    python = f"py{sys.version_info.major}.{sys.version_info.minor}"
    wanted = hashlib.sha256(repr((python, sorted(entry.requirements))).encode()).hexdigest()[:12]
    source = cache_directory() / "source" / entry.source
    packages = cache_directory() / "packages" / f"{entry.name}-{wanted}"
    if not source.exists():
        with _new(source) as directory:
            _pip(
                "download", "--no-deps", "--no-binary", _name(entry.source),
                "--dest", str(directory), entry.source,
            )
            (archive,) = directory.glob("*.tar.gz")
            with tarfile.open(archive) as tar:
                tar.extractall(directory, filter="data")
            archive.unlink()
    if not packages.exists():
        with _new(packages) as directory:
            _pip("install", "--target", str(directory), *entry.requirements)
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


def _pip(*arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        capture_output=True, text=True, check=False, timeout=FETCH_S_MAX,
    )
    if result.returncode:
        raise RuntimeError(f"pip {' '.join(arguments)}:\n{result.stderr[-2000:]}")
