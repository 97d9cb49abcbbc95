"""Sums what the node's workers have counted.

A worker tells how much came to its counts since it last told, so a sum never goes backwards: not
when a worker dies, which loses what it had not told, and not by a new agent, which begins at 0.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from clustersession.core.counters import Counters

COUNTS = tuple(Counters().told())
ASK_INTERVAL_S_MIN = 0.5
_COUNT_MAX = 2**53


class WorkerCounts:
    """Sums what the workers tell when ``ask`` makes them: at sweeps and when somebody looks."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        # When the workers were last asked.
        self._asked_s = float("-inf")
        # The sums by name, all of them from the start on.
        self.counts = dict.fromkeys(COUNTS, 0)

    def ask(self) -> None:
        """Have the workers tell, but not all the time however often somebody looks."""
        now_s = time.monotonic()
        if now_s - self._asked_s >= ASK_INTERVAL_S_MIN:
            self._asked_s = now_s
            self._ask()

    def add(self, told: Mapping[Any, Any]) -> None:
        """Add what a worker tells; counts that only another version knows are left out."""
        for name in COUNTS:
            more = told.get(name)
            if type(more) is int and 0 < more < _COUNT_MAX:
                self.counts[name] += more
