"""Reads procedures, such as docs/operations/drill.md: what to type, and what is then to be seen.

A drill is a heading of the second level, a step is a numbered paragraph. The blocks of a
step are transcripts: a prompt names the host, ``#`` is for root, and what a command prints follows.
A ``…`` stands for anything, and lines between those shown may be left out.
"""

import re
from dataclasses import dataclass
from pathlib import Path

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations"
EACH = "tomcatN"
_STEP = re.compile(r"^(\d+)\. ", re.MULTILINE)
_BLOCK = re.compile(r"^   ```console\n(.*?)^   ```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"(tomcat\w)[$#] (.*)")
_TITLE = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)
_SOME = re.compile(r"\bN = (\d(?:, \d)*)")
_ALERT = re.compile(r"`(Clustersession[A-Z]\w+)`")


@dataclass(frozen=True, slots=True)
class Command:
    """What to type on which host, and the lines that its output must hold in this order."""

    host: str
    text: str
    shown: tuple[str, ...]

    def missing(self, output: str) -> str:
        """The first line shown that the output lacks; empty when it has all of them."""
        printed = iter(_words(line) for line in output.splitlines())
        for line in self.shown:
            pattern = re.escape(_words(line)).replace("…", ".*")
            if not any(re.fullmatch(pattern, candidate) for candidate in printed):
                return line
        return ""


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered paragraph, and what of it is set in bold."""

    number: int
    title: str
    text: str
    commands: tuple[Command, ...]

    def nodes(self, count: int) -> list[int]:
        """The numbers of the nodes that ``tomcatN`` stands for; none where it does not occur."""
        if all(command.host != EACH for command in self.commands):
            return []
        some = _SOME.search(self.text)
        return [int(n) for n in some[1].split(", ")] if some else list(range(1, count + 1))


@dataclass(frozen=True, slots=True)
class Drill:
    """One situation. ``alerts``: those of examples/prometheus that it is said to raise."""

    title: str
    text: str
    steps: tuple[Step, ...]

    @property
    def alerts(self) -> frozenset[str]:
        """Every alert that it names."""
        return frozenset(_ALERT.findall(self.text))


def drills(document: str = "drill.md") -> dict[str, Drill]:
    """All of them by title."""
    text = (OPERATIONS / document).read_text()
    _, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    return {drill.title: drill for drill in map(_drill, sections)}


def _drill(section: str) -> Drill:
    title, _, body = section.partition("\n")
    _, *parts = _STEP.split(body)
    numbers, texts = map(int, parts[::2]), parts[1::2]
    steps = tuple(_step(number, text) for number, text in zip(numbers, texts, strict=True))
    return Drill(title.strip(), body, steps)


def _step(number: int, text: str) -> Step:
    commands: list[Command] = []
    for block in _BLOCK.findall(text):
        for line in block.splitlines():
            line = line.removeprefix("   ")
            prompt = _PROMPT.fullmatch(line)
            if prompt is not None:
                commands.append(Command(prompt[1], prompt[2], ()))
            else:
                host, typed, shown = commands[-1].host, commands[-1].text, commands[-1].shown
                commands[-1] = Command(host, typed, (*shown, line))
    titles = _TITLE.findall(text)
    return Step(number, _words(titles[-1]) if titles else "", text, tuple(commands))


def _words(line: str) -> str:
    return " ".join(line.split())
