"""The project's documents in parts: blocks of code, tables, prose."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

AT_THE_TOP = ("README", "SECURITY", "CHANGELOG", "CONTRIBUTING", "CODE_OF_CONDUCT")
DOCUMENTS = (
    *(ROOT / f"{name}.md" for name in AT_THE_TOP),
    *sorted((ROOT / "docs").rglob("*.md")),
)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block of a document."""

    document: Path
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{short(self.document)}-{self.number}-{self.language}"


def short(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def blocks(*languages: str) -> list[Block]:
    return [
        Block(document, number, language, text)
        for document in DOCUMENTS
        for number, (language, text) in enumerate(FENCE.findall(document.read_text()), 1)
        if language in languages
    ]


def table_rows(document: Path, *header: str) -> Iterator[list[str]]:
    """The rows of every table of a document that begins with these columns."""
    inside = False
    for line in document.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if tuple(cells[: len(header)]) == header:
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(cells[0]) <= set("-: "):
            yield cells
