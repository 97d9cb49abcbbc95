"""Decides when a transaction with much to do makes way for the other writers of the host.

All processes of a host write one after the other. A worker commits in some ten microseconds, and a
request waits for it; the agent may have thousands of sessions to store at once.
"""

import time
from typing import Protocol

TURN_S = 0.002
"""How long a transaction may keep a worker waiting that has a session to commit."""

PAUSE_S = 0.0001
"""How long to stand back: whoever takes LMDB's lock again at once keeps the others out. To wake up
takes a waiting process a tenth of this."""

SESSIONS_MAX = 64
"""As many as take about TURN_S."""


class Turn(Protocol):
    """Bounds one transaction."""

    def is_over(self) -> bool:
        """Tell whether the transaction should end now; asked after each session that it stored."""
        ...


class TimedTurn:
    """Takes TURN_S."""

    __slots__ = ("_until_s",)

    def __init__(self) -> None:
        self._until_s = time.monotonic() + TURN_S

    def is_over(self) -> bool:
        """Tell whether the time is up."""
        return time.monotonic() >= self._until_s


class CountedTurn:
    """Takes SESSIONS_MAX sessions: where nobody waits, and all runs must take the same course."""

    __slots__ = ("_left",)

    def __init__(self, sessions_max: int = SESSIONS_MAX) -> None:
        self._left = sessions_max

    def is_over(self) -> bool:
        """Count one more session, and tell whether that was the last one."""
        self._left -= 1
        return self._left <= 0


def stand_back() -> None:
    """Let other writers go first."""
    time.sleep(PAUSE_S)
