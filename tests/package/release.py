"""Makes in dist/ what a release publishes: sdist, wheel and the wheel's bill of materials.

    python -m tests.package.release

The same commit always gives the same files, byte for byte, but for the bill of materials: that
lists the newest versions of what the wheel needs, as pip installs them at that time.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.package.building import PIP, ROOT, Distributions, build, clean_environment


def commit_s() -> int:
    """When the commit was made that is checked out; without git, what the environment says."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    asked = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(asked.stdout)


def write_bill_of_materials(built: Distributions, path: Path, epoch_s: int) -> None:
    """Install the wheel where nothing else is, and list that in CycloneDX's JSON."""
    with tempfile.TemporaryDirectory() as directory:
        python = clean_environment(Path(directory) / "venv", str(built.wheel))
        # The environment's own tools are no part of it; Python 3.12 and newer have no setuptools.
        unwanted = ("setuptools", "pip")
        subprocess.run([python, *PIP, "uninstall", "--yes", *unwanted], check=True)
        subprocess.run(
            [Path(sys.executable).with_name("cyclonedx-py"), "environment", "--mc-type", "library",
             "--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--output-file", path,
             python],
            env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch_s)}, check=True,
        )  # fmt: skip


def not_named_in(path: Path) -> set[str]:
    """Which of our dependencies a bill of materials does not name; there should be none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=!~;\[ ]", requirement)[0] for requirement in project["dependencies"]}
    return needed - {part["name"].lower() for part in json.loads(path.read_text())["components"]}


def main(arguments: Sequence[str]) -> int:
    """Build into an empty dist/; 1 when the bill of materials is not whole."""
    parser = argparse.ArgumentParser(prog="python -m tests.package.release")
    parser.add_argument("--into", type=Path, default=ROOT / "dist")
    into: Path = parser.parse_args(arguments).into
    shutil.rmtree(into, ignore_errors=True)
    epoch_s = commit_s()
    built = build(ROOT, into, epoch_s)
    bill = into / f"{built.wheel.name.partition('-py3')[0]}.cdx.json"
    write_bill_of_materials(built, bill, epoch_s)
    for path in sorted(into.iterdir()):
        print(path)
    if unnamed := not_named_in(bill):
        print(f"{bill} does not name {', '.join(sorted(unnamed))}", file=sys.stderr)
    return int(bool(unnamed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
