"""What is run for one framework, and what is expected of it."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).parent
ROOT = DIRECTORY.parents[1]


@dataclass(frozen=True, slots=True)
class Difference:
    """A test of theirs that fails with ours; ``documented``: where users read of it, if chosen."""

    test: str
    why: str
    documented: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One framework; see the package's docstring for the fields."""

    name: str
    source: str
    requirements: tuple[str, ...]
    plugin: str
    tests: tuple[str, ...]
    passed: int
    keyword: str = ""
    python: str = ""
    differences: tuple[Difference, ...] = ()


def load_entries() -> list[Entry]:
    """Every framework, by name."""
    return [read_entry(path.stem, path.read_text()) for path in sorted(DIRECTORY.glob("*.toml"))]


def read_entry(name: str, text: str) -> Entry:
    """An entry from its file. Raises TypeError for a field that is missing or unknown."""
    fields = tomllib.loads(text)
    fields["requirements"] = tuple(fields["requirements"])
    fields["tests"] = tuple(fields["tests"])
    fields["differences"] = tuple(Difference(**d) for d in fields.get("differences", ()))
    return Entry(name=name, **fields)
