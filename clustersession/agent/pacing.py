"""Does at once what is seldom asked for, and together what is asked for all the time.

What is much is done in parts that take a bounded time each.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Paced:
    """Runs an action for those who ask: now, or when the last time is ``interval_s`` ago.

    _timer: fires for all who have asked since; None while nobody has. _done_s: the last time.
    """

    def __init__(self, interval_s: float, action: Callable[[], None]) -> None:
        self._interval_s = interval_s
        self._action = action
        self._timer: asyncio.TimerHandle | None = None
        self._done_s = float("-inf")

    def ask(self) -> None:
        """Have the action run, now or soon."""
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        due_s = self._done_s + self._interval_s
        if loop.time() >= due_s:
            self.run()
        else:
            self._timer = loop.call_at(due_s, self.run)

    def run(self) -> None:
        """Run it now, for all who have asked."""
        self.cancel()
        self._done_s = asyncio.get_running_loop().time()
        self._action()

    def cancel(self) -> None:
        """Leave undone what was put off."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class TimedParts:
    """Says how much to do at a time, so that a part takes about ``part_s``.

    count: how many things the next part has, 1 to ``count_max``. taken_s: how long the last part
    took; whoever rests as long leaves half of the time to others.
    """

    def __init__(self, count_max: int, part_s: float) -> None:
        self._count_max, self._part_s = count_max, part_s
        self.count = count_max
        self.taken_s = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Do a part in the block of a ``with`` statement, and judge the next one by it."""
        began_s = time.monotonic()
        yield
        self.taken_s = time.monotonic() - began_s
        if self.taken_s > self._part_s:
            self.count = max(1, int(self.count * self._part_s / self.taken_s))
        else:
            # Slowly back: a single part that met a busy moment says little of the next ones.
            self.count = min(self._count_max, self.count + 1 + self.count // 4)
