"""What is run for one library."""

import importlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.recipes.stand import Stand

DIRECTORY = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Recipe:
    """One library, as its recipe.toml says.

    library: its name for people. requirements: for pip, the library's own first; without a version
    the newest is taken. older: versions of the library that are tried too. shows: distributions
    besides the library whose version the table shows. server: gunicorn, uvicorn, or a command with
    "{port}". prepare: commands run once before the nodes start. environments: variables for the
    application; the scenario runs once with each. note: what the table says of it.
    """

    name: str
    library: str
    requirements: tuple[str, ...]
    server: str | tuple[str, ...]
    older: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    prepare: tuple[tuple[str, ...], ...] = ()
    environments: tuple[Mapping[str, str], ...] = ({},)
    note: str = ""

    @property
    def directory(self) -> Path:
        """The folder of the recipe."""
        return DIRECTORY / self.name

    @property
    def page(self) -> str:
        """The name of its page in docs/recipes."""
        return f"{self.name.replace('_', '-')}.md"

    @property
    def distribution(self) -> str:
        """The distribution of the library itself, without extras."""
        return self.requirements[0].partition("[")[0]

    def scenario(self) -> Callable[[Stand], None]:
        """What is done with it."""
        module = importlib.import_module(f"tests.recipes.{self.name}.scenario")
        found: Callable[[Stand], None] = module.scenario
        return found

    def sets_of_requirements(self) -> list[tuple[str, ...]]:
        """What is installed for each run: the newest, then each older version."""
        first, *rest = self.requirements
        return [self.requirements, *((f"{first}=={version}", *rest) for version in self.older)]


def load_recipes() -> dict[str, Recipe]:
    """Every recipe by name."""
    paths = sorted(DIRECTORY.glob("*/recipe.toml"))
    return {path.parent.name: read_recipe(path.parent.name, path.read_text()) for path in paths}


def read_recipe(name: str, text: str) -> Recipe:
    """Read a recipe from its file. Raises TypeError for a field that is missing or unknown."""
    fields = tomllib.loads(text)
    for field in ("requirements", "older", "shows"):
        fields[field] = tuple(fields.get(field, ()))
    fields["prepare"] = tuple(map(tuple, fields.get("prepare", ())))
    if "environments" in fields:
        fields["environments"] = tuple(fields["environments"])
    if isinstance(fields["server"], list):
        fields["server"] = tuple(fields["server"])
    return Recipe(name=name, **fields)
