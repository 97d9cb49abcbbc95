"""Reads examples/images/Dockerfile, as far as it can be had without building it."""

import json
import re
import shlex
from dataclasses import dataclass, field

from tests.support.apps import ROOT

DOCKERFILE = ROOT / "examples" / "images" / "Dockerfile"


@dataclass
class Image:
    """A stage with what it has from those that it is made from.

    copied: from the repository, with where it goes; check: what tells whether it is healthy.
    """

    environment: dict[str, str] = field(default_factory=dict)
    copied: list[tuple[str, str]] = field(default_factory=list)
    user: str = "root"
    directory: str = "/"
    command: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)

    def child(self) -> "Image":
        """One that begins with what this one has."""
        return Image(
            dict(self.environment), list(self.copied), self.user, self.directory,
            list(self.command), list(self.check),
        )


def image(name: str) -> Image:
    """What a target becomes."""
    return images()[name]


def images() -> dict[str, Image]:
    """All stages, by name."""
    stages: dict[str, Image] = {}
    current = Image()
    for instruction, rest in _instructions():
        if instruction == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            current = stages[name] = stages[base].child() if base in stages else Image()
        else:
            _apply(current, instruction, rest)
    return stages


def _instructions() -> list[tuple[str, str]]:
    lines = (line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#"))
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(w, rest.strip()) for w, _, rest in (x.partition(" ") for x in joined.split("\n") if x)]


def _apply(image: Image, instruction: str, rest: str) -> None:
    if instruction == "ENV":
        image.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
    elif instruction == "COPY" and not rest.startswith("--from"):
        *sources, target = rest.split()
        image.copied += [(source, target) for source in sources]
    elif instruction == "USER":
        image.user = rest
    elif instruction == "WORKDIR":
        image.directory = rest
    elif instruction == "CMD":
        image.command = json.loads(rest)
    elif instruction == "HEALTHCHECK":
        check = rest.partition(" CMD ")[2].strip()
        image.check = json.loads(check) if check.startswith("[") else ["sh", "-c", check]
