"""The tables of docs/tomcat.md, made from those that the import uses.

    python -m tests.support.tomcat_page

writes them into the page; the tests compare.
"""

from itertools import groupby
from pathlib import Path

from clustersession.tools.tomcat.importing import TABLE
from clustersession.tools.tomcat.rows import Fate, Row

PAGE = Path(__file__).parents[2] / "docs" / "tomcat.md"
MARK = "<!-- from here on made by python -m tests.support.tomcat_page -->"


def tables() -> str:
    """One table for each component; neighbours that share a reason share a row."""
    parts = []
    for component, rows in TABLE.items():
        lines = [f"### {component}", "", "| Tomcat | here | |", "|---|---|---|"]
        for row, group in groupby(rows, key=rows.__getitem__):
            names = ", ".join(f"`{name}`" for name in group)
            lines.append(f"| {names} | {_becomes(row)} | {row.words.replace('|', '/')} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _becomes(row: Row) -> str:
    return f"`{row.setting}`" if row.fate is Fate.MAPPED else row.fate.value


def main() -> None:
    """Rewrite the page's tables."""
    prose, mark, _ = PAGE.read_text().partition(MARK)
    PAGE.write_text(f"{prose}{mark}\n\n{tables()}")


if __name__ == "__main__":
    main()
