"""Downloads source packages and what they need, once, into the cache."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.frameworks.entry import Entry
from tests.support.downloads import NewDirectory, cache_directory, install, own_requirements, pip


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
        requirements += (*own_requirements(), "pytest", "pytest-asyncio")
    source = cache_directory("source") / entry.source
    if not source.exists():
        with NewDirectory(source) as directory:
            pip(
                python, "download", "--no-deps", "--no-binary", _name(entry.source),
                "--dest", str(directory), entry.source,
            )
            (archive,) = directory.glob("*.tar.gz")
            # Python's own has no safe way before 3.11.4, and warns of the other one since 3.12.
            subprocess.run(["tar", "-xf", archive, "-C", directory], check=True)
            archive.unlink()
    packages = install(entry.name, python, requirements)
    (top,) = source.iterdir()
    return top, packages


def _name(requirement: str) -> str:
    return requirement.partition("==")[0]
