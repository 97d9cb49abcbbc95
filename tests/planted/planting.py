"""The planted bugs: what each one changes, what it would mean to a user, and how to plant it."""

import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTS = Path(__file__).parent / "bugs"
SIMULATION = "simulation"
SIMULATION_WITH_STORE = "simulation with a store"
TREE = ("clustersession", "tests", "examples", "pyproject.toml")


@dataclass(frozen=True)
class Edit:
    """In one file of the product, one piece of text instead of another."""

    file: str
    old: str
    new: str

    def applied_to(self, text: str) -> str:
        """The file with the edit. Raises ValueError unless the old text occurs exactly once."""
        count = text.count(self.old)
        if count != 1:
            raise ValueError(f"{self.file}: the text to replace occurs {count} times")
        if self.new == self.old:
            raise ValueError(f"{self.file}: the edit changes nothing")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Bug:
    """``means``: what a user would suffer. ``check``: what must catch it, "simulation",
    "simulation with a store" or the path of tests; ``why_not_simulated`` says why it is none."""

    name: str
    means: str
    edits: tuple[Edit, ...]
    check: str = SIMULATION
    why_not_simulated: str = ""

    @property
    def is_simulated(self) -> bool:
        """Whether the simulator must catch it."""
        return self.check in (SIMULATION, SIMULATION_WITH_STORE)


def load_bugs() -> list[Bug]:
    """All bugs, in the order of the lists."""
    bugs: list[Bug] = []
    for path in sorted(LISTS.glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["bug"]:
            first = Edit(entry.pop("file"), entry.pop("old"), entry.pop("new"))
            more = [Edit(**edit) for edit in entry.pop("also", [])]
            bugs.append(Bug(edits=(first, *more), **entry))
    return bugs


def planted(bug: Bug, package: Path) -> dict[Path, str]:
    """The files that the bug changes, as they then read. Raises ValueError if it does not fit."""
    texts: dict[Path, str] = {}
    for edit in bug.edits:
        path = package / edit.file
        text = texts.get(path) or path.read_text()
        texts[path] = edit.applied_to(text)
        if path.suffix == ".py":
            compile(texts[path], str(path), "exec")
    return texts


def copy_tree(source: Path, target: Path) -> None:
    """What is needed to run the suite, from one directory to another."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in TREE:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=ignored)
        elif (source / name).exists():
            shutil.copy2(source / name, target / name)


def plant(bug: Bug, tree: Path) -> None:
    """Plant a bug in a copy of the tree."""
    for path, text in planted(bug, tree / "clustersession").items():
        path.write_text(text)
