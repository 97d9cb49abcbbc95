"""Prints what the demo does, with the time since its start before each heading."""

import time
from typing import TextIO


class Story:
    """Numbers the steps. State: when it began, and how many headings there were."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._started_s = time.monotonic()
        self._step = 0

    @property
    def elapsed_s(self) -> float:
        """Return the time since the start."""
        return time.monotonic() - self._started_s

    def heading(self, text: str) -> None:
        """Begin a step."""
        self._step += 1
        self.line(f"\n[{self.elapsed_s:5.1f} s] {self._step}. {text}")

    def detail(self, text: str) -> None:
        """Tell what was seen in a step."""
        self.line(f"            {text}")

    def line(self, text: str) -> None:
        """Print a line as it is."""
        print(text, file=self._output, flush=True)
