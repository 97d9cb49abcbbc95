"""The oldest versions that pyproject.toml allows are the ones that make lowest installs."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = {"bench", "docs", "test", "dev"}
"""Extras of ours alone: what they name beside our other extras may be any version."""
BOUND = re.compile(r"([A-Za-z0-9-]+)(?:\[.*?\])?>=([0-9][0-9.]*)(?:,!=[0-9.*]+)*(?:;.*)?")


def bounds() -> dict[str, set[str]]:
    """Every lower bound that somebody who installs us can meet, by package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"]]
    for name in extras.keys() - TOOLS:
        requirements += extras[name]
    found: dict[str, set[str]] = {}
    for requirement in requirements:
        if requirement.startswith("clustersession["):
            continue
        match = BOUND.fullmatch(requirement)
        assert match, f"{requirement} has no lower bound"
        found.setdefault(match[1].lower(), set()).add(match[2])
    return found


def pins() -> dict[str, str]:
    lines = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    return {name: version for name, _, version in (line.partition("==") for line in lines)}


def test_the_pins_are_the_lower_bounds() -> None:
    assert {name: {version} for name, version in pins().items()} == bounds()


def test_each_bound_has_its_reason() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \| ([0-9.]+) \| \S",
        (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE,
    )  # fmt: skip
    assert dict(rows) == pins()
