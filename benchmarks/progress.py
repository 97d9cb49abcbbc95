"""Tells on the standard error output how far something long is: a line now and then."""

import sys
import time

INTERVAL_S = 5.0


class Progress:
    """Tells of one thing, at most every ``INTERVAL_S``; nothing of what is over sooner.

    what: goes before each line.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._began_s = self._told_s = time.monotonic()

    def tell(self, how_far: str) -> None:
        """Say how far it is, if it is time to."""
        now_s = time.monotonic()
        if now_s - self._told_s >= INTERVAL_S:
            self._told_s = now_s
            print(f"{self._what}: {how_far}, {now_s - self._began_s:.0f} s",
                  file=sys.stderr, flush=True)
