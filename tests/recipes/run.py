"""Runs recipes; see the package's docstring.

    python -m tests.recipes.run [--mode store] [--write] [--log] [NAME ...]
"""

import argparse
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

from clustersession.tools.demo.nodes import uvicorn_command
from tests.recipes.recipe import Recipe, load_recipes
from tests.recipes.stand import stand
from tests.recipes.table import TABLE, Result, written
from tests.store.servers import Server, store_of, take_sessions
from tests.support.apps import gunicorn_command
from tests.support.downloads import install

SERVERS = {"gunicorn": gunicorn_command("-w", "2"), "uvicorn": uvicorn_command("app:app")}


def run(
    recipe: Recipe, requirements: tuple[str, ...], *, log: bool, store: Server | None = None
) -> Result:
    """Run one recipe with these requirements. Raises RuntimeError when pip cannot install them.

    With a store the nodes have it in the place of each other.
    """
    packages = install(recipe.name, sys.executable, requirements)
    version, beside = versions(recipe, packages)
    problems = (
        used(recipe, packages, environment, log=log) if store is None
        else used_with(store, recipe, packages, environment, log=log)
        for environment in recipe.environments
    )
    problem = next(filter(None, problems), "")
    return Result(recipe, version, beside, platform.python_version().rpartition(".")[0], problem)


def used_with(
    store: Server, recipe: Recipe, packages: Path, environment: Mapping[str, str], *, log: bool
) -> str:
    """Do what ``used`` does, with a store, and see that it was."""
    settings = {
        "CLUSTERSESSION_STORE": store.url, "CLUSTERSESSION_NEAR_CACHE_BYTES_MAX": str(2**25),
    }
    problem = used(recipe, packages, {**environment, **settings}, log=log)
    stored = take_sessions(store)
    return problem or ("" if stored else "no session is in the store")


def used(recipe: Recipe, packages: Path, environment: Mapping[str, str], *, log: bool) -> str:
    """Run the scenario once; return what went wrong, or nothing."""
    command = SERVERS[recipe.server] if isinstance(recipe.server, str) else [
        sys.executable if word == "python" else word for word in recipe.server
    ]
    problem = logs = ""
    with tempfile.TemporaryDirectory(prefix="recipe-") as name:
        try:
            with stand(
                recipe.directory, command, Path(name), packages, recipe.prepare, environment
            ) as made:
                try:
                    recipe.scenario()(made)
                finally:
                    logs = made.logs()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            traceback.print_exc()
    if log or problem:
        print(logs[-8000:])
    return problem


def versions(recipe: Recipe, packages: Path) -> tuple[str, str]:
    """The library's version, and those of what stands beside it in the table."""
    found = {
        distribution.name.lower().replace("_", "-"): distribution
        for distribution in distributions(path=[str(packages)])
    }
    beside = [found[name.lower()] for name in recipe.shows]
    return (
        found[recipe.distribution.lower().replace("_", "-")].version,
        ", ".join(f"{distribution.name} {distribution.version}" for distribution in beside),
    )


def main() -> int:
    """Run what was asked for; 1 when something does not work."""
    parser = argparse.ArgumentParser(description="Other people's libraries with our sessions.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes; default: all")
    parser.add_argument("--mode", choices=("peers", "store"), default="peers")
    parser.add_argument("--write", action="store_true", help="bring the table up to date")
    parser.add_argument("--log", action="store_true", help="print the servers' logs")
    arguments = parser.parse_args()
    recipes = load_recipes()
    names = [name.replace("-", "_") for name in arguments.names]
    if unknown := set(names) - set(recipes):
        parser.error(f"not among {', '.join(recipes)}: {', '.join(sorted(unknown))}")
    if arguments.write and arguments.mode == "store":
        parser.error("the table is about peers")
    results = []
    with store_of(arguments.mode) as store:
        for name in names or recipes:
            for requirements in recipes[name].sets_of_requirements():
                began_s = time.monotonic()
                result = run(recipes[name], requirements, log=arguments.log, store=store)
                results.append(result)
                print(f"{time.monotonic() - began_s:5.1f} s  {result.row()}", end="", flush=True)
    if arguments.write:
        TABLE.write_text(written(TABLE.read_text(), results))
    return 1 if any(result.problem for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
