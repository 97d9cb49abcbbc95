"""Does at once what is seldom asked for, and together what is asked for all the time."""

import asyncio
from collections.abc import Callable


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
