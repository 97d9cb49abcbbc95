"""Lets a request wait for its agent for the whole timeout once, then not at all for a while.

An agent that cannot start, or hangs, would otherwise cost every write a full timeout. A worker that
waited in vain goes on without its agent until another one attaches, or until it is time to look.
"""

from collections.abc import Callable

OPEN_S = 5.0
PAUSE_S = 0.2
"""Who notices so late that a wait is over has stood still itself: in a call that kept the
interpreter, behind another writer of the replica, or on a busy machine."""


class CircuitBreaker:
    """Opens at a failure, so that nobody waits, and closes after OPEN_S or by another agent.

    attachments: how often this process has attached to an agent. More than at the failure means
    that another one has come.
    """

    def __init__(self, attachments: Callable[[], int]) -> None:
        self._attachments = attachments
        # In monotonic seconds; in the past while the breaker is closed. And how often this process
        # had attached when it opened.
        self._open_until_s = float("-inf")
        self._attachments_at_failure = 0

    def is_open(self, now_s: float) -> bool:
        """Tell whether to go on without waiting."""
        return now_s < self._open_until_s and self._attachments() == self._attachments_at_failure

    def failed(self, now_s: float, due_s: float) -> None:
        """Note that there was no answer within the whole timeout, which was over at ``due_s``."""
        if now_s - due_s > PAUSE_S:
            # The answer may have been there all the time.
            return
        self._open_until_s = now_s + OPEN_S
        self._attachments_at_failure = self._attachments()

    def succeeded(self) -> None:
        """Note that the agent answered."""
        self._open_until_s = float("-inf")
