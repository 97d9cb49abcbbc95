"""What ``clustersession demo`` prints, as steps, and what becomes of the two nodes in each."""

import re
import subprocess
import sys
from dataclasses import dataclass

NODES = ("tomcat1", "tomcat2")
_NOISE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ |clustersession\.agent ")
_ANSWERED = re.compile(r"\b(tomcat\d) answered|all answered by (tomcat\d)")
_KILLED = re.compile(r"every process of (tomcat\d)")
_BACK = re.compile(r"(tomcat\d) is back")


@dataclass(frozen=True, slots=True)
class Step:
    """Some lines that belong together. serving: who answers the visitor; empty for nobody yet."""

    lines: tuple[str, ...]
    serving: str
    dead: str


def record() -> str:
    """Run the demo; what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "clustersession", "demo"], check=True, capture_output=True, text=True
    )
    return done.stdout


def steps(printed: str) -> list[Step]:
    """Tell the steps apart, and follow the nodes through them."""
    found: list[Step] = []
    serving = dead = ""
    for part in printed.strip().split("\n\n"):
        answered, killed = _ANSWERED.search(part), _KILLED.search(part)
        if answered:
            serving = answered[1] or answered[2]
        dead = "" if _BACK.search(part) else killed[1] if killed else dead
        lines = tuple(_NOISE.sub("", line) for line in part.splitlines())
        found.append(Step(lines, serving, dead))
    return found
