"""A shell into which an operator's commands are typed, one after the other."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
_END = "end of what the command printed:"


class Shell:
    """A bash of a host that stays, with what was set in it and what runs behind it.

    start: ``Popen``, or what does the same on another host.
    """

    def __init__(
        self, start: "Callable[..., subprocess.Popen[Any]]", directory: Path, **environment: str
    ) -> None:
        mine = {n: v for n, v in os.environ.items() if not n.startswith("CLUSTERSESSION_")}
        self._process = start(
            ["bash"], cwd=directory, env={**mine, **environment}, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )

    def run(self, text: str) -> tuple[str, int]:
        """Type a line; what it printed, errors included, and its exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(f"{text}\necho {_END} $?", file=self._process.stdin, flush=True)
        lines: list[str] = []
        for line in self._process.stdout:
            before, end, status = line.partition(_END)
            lines.append(before)
            if end:
                return "".join(lines), int(status)
        raise AssertionError(f"the shell has ended: {''.join(lines)}")

    def close(self) -> None:
        """End it, and what still runs behind it."""
        with contextlib.suppress(OSError, AssertionError):
            self.run("for job in $(jobs -p); do kill $job; done; wait")
        self._process.kill()
        self._process.communicate()
