"""Reads a tutorial: files to save and commands to type, in the order of the page."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.documents import FENCE, ROOT
from tests.drill.document import Command

TUTORIALS = ROOT / "docs" / "tutorials"
_PROMPT = "$ "
_FILE = re.compile(r"(Save this as|Add this at the end of) `([\w./]+)`:\n\n\Z")


@dataclass(frozen=True, slots=True)
class File:
    """A file to write, or what to add to one."""

    name: str
    text: str
    is_added: bool

    def save(self, directory: Path) -> None:
        """Do what the page says."""
        with (directory / self.name).open("a" if self.is_added else "w") as file:
            file.write(self.text)


def read(page: Path) -> list[Command | File]:
    """Everything to do."""
    text = page.read_text()
    steps: list[Command | File] = []
    for block in FENCE.finditer(text):
        language, content = block.groups()
        if language == "console":
            steps += _commands(content)
        else:
            introduced = _FILE.search(text[: block.start()])
            assert introduced, f"{page.name} does not say what to do with:\n{content}"
            steps.append(File(introduced[2], content, introduced[1].startswith("Add")))
    return steps


def _commands(transcript: str) -> list[Command]:
    commands: list[Command] = []
    for line in transcript.splitlines():
        if line.startswith(_PROMPT):
            commands.append(Command("", line.removeprefix(_PROMPT), ()))
        else:
            last = commands.pop()
            commands.append(Command("", last.text, (*last.shown, line)))
    return commands
