"""The table of libraries, versions and results in docs/frameworks/README.md."""

import re
from dataclasses import dataclass

from tests.recipes.recipe import Recipe
from tests.support.apps import ROOT

TABLE = ROOT / "docs" / "frameworks" / "README.md"
BEGIN, END = "<!-- recipes: begin -->", "<!-- recipes: end -->"
HEADER = "| library | version | with | Python | result |\n|---|---|---|---|---|\n"
ROW = re.compile(r"^\| \[(?P<library>[^\]]+)\]\((?P<page>[^)]+)\) \| (?P<version>[^ |]+) \|", re.M)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one run; ``problem`` is empty when all went right."""

    recipe: Recipe
    version: str
    beside: str
    python: str
    problem: str

    def row(self) -> str:
        """Return the row of the table."""
        recipe = self.recipe
        outcome = f"fails: {self.problem}" if self.problem else (recipe.note or "works")
        page = f"../recipes/{recipe.page}"
        return (
            f"| [{recipe.library}]({page}) | {self.version} | {self.beside} | {self.python} "
            f"| {outcome} |\n"
        )


def written(text: str, results: list[Result]) -> str:
    """Put the rows of these results into the document, in the place of older ones of the same."""
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    new = {result.recipe.page for result in results}
    kept = [
        line + "\n" for line in table.splitlines()
        if (row := ROW.match(line)) and row["page"].rpartition("/")[2] not in new
    ]
    rows = sorted([*kept, *(result.row() for result in results)], key=str.lower)
    return f"{before}{BEGIN}\n\n{HEADER}{''.join(rows)}\n{END}{after}"
