"""Every recipe can be read, has a page and a row in the table."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.recipes import run
from tests.recipes.recipe import Recipe, load_recipes, read_recipe
from tests.recipes.table import BEGIN, END, HEADER, TABLE, Result, written
from tests.store.servers import Server
from tests.support.apps import ROOT

RECIPE = Recipe("a_library", "A Library", ("a-library", "flask"), "gunicorn", older=("0.9",))
EMPTY = f"before\n{BEGIN}\n{END}\nafter\n"


@pytest.mark.parametrize("name", load_recipes())
def test_each_recipe_has_a_page_and_a_row_that_says_it_works(name: str) -> None:
    recipe = load_recipes()[name]
    assert (ROOT / "docs" / "recipes" / recipe.page).exists()
    assert (recipe.directory / "scenario.py").exists()
    rows = [line for line in TABLE.read_text().splitlines() if f"recipes/{recipe.page})" in line]
    assert len(rows) == len(recipe.sets_of_requirements()), rows
    assert not [row for row in rows if "| fails: " in row]


def test_each_page_has_a_recipe() -> None:
    pages = {path.name for path in (ROOT / "docs" / "recipes").glob("*.md")}
    assert pages == {recipe.page for recipe in load_recipes().values()}


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="serverr"):
        read_recipe("a", 'library = "A"\nrequirements = ["a"]\nserver = "gunicorn"\nserverr = 1')


def test_the_scenario_runs_once_with_each_environment() -> None:
    text = 'library = "A"\nrequirements = ["a"]\nserver = "gunicorn"\n'
    assert read_recipe("a", text).environments == ({},)
    both = read_recipe("a", f'{text}environments = [{{}}, {{WAY = "other"}}]')
    assert both.environments == ({}, {"WAY": "other"})


def test_the_newest_and_older_versions_are_run() -> None:
    assert RECIPE.sets_of_requirements() == [("a-library", "flask"), ("a-library==0.9", "flask")]


def test_a_row_takes_the_place_of_the_older_one() -> None:
    first = written(EMPTY, [Result(RECIPE, "1.0", "Flask 3", "3.11", "no login")])
    assert "| 1.0 | Flask 3 | 3.11 | fails: no login |" in first
    second = written(first, [Result(RECIPE, "1.1", "Flask 3", "3.11", "")])
    assert "1.0" not in second
    assert second == (
        f"before\n{BEGIN}\n\n{HEADER}"
        f"| [A Library](../recipes/a-library.md) | 1.1 | Flask 3 | 3.11 | works |\n\n{END}\nafter\n"
    )


@pytest.mark.parametrize(("problem", "stored", "found"), [
    ("", 1, ""), ("no login", 0, "no login"), ("", 0, "no session is in the store"),
])
def test_a_run_that_leaves_nothing_in_the_store_is_none_with_a_store(
    problem: str, stored: int, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Mapping[str, str]] = []

    def used(recipe: Recipe, packages: Path, environment: Mapping[str, str], *, log: bool) -> str:
        given.append(environment)
        return problem

    monkeypatch.setattr(run, "used", used)
    monkeypatch.setattr(run, "take_sessions", lambda store: stored)
    store = Server("redis-server", Path("/nowhere"))
    assert run.used_with(store, RECIPE, Path(), {"WAY": "other"}, log=False) == found
    (environment,) = given
    assert (environment["WAY"], environment["CLUSTERSESSION_STORE"]) == ("other", store.url)
