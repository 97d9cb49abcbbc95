"""How long a request waits for its agent: the whole timeout once, then not at all for a while.

An agent that cannot start, or hangs, would otherwise cost every write a full timeout. A worker that
waited in vain goes on without its agent until another one attaches, or until it is time to look.
"""

from collections.abc import Callable

OPEN_S = 5.0


class CircuitBreaker:
    """Open after a failure, so that nobody waits; closed again after OPEN_S or by another agent.

    attachments: how often this process has attached to an agent. More than at the failure means
    that another one has come.
    """

    def __init__(self, attachments: Callable[[], int]) -> None:
        self._attachments = attachments
        # In monotonic seconds; in the past while the breaker is closed.
        self._open_until_s = float("-inf")
        self._attachments_at_failure = 0

    def is_open(self, now_s: float) -> bool:
        """Whether to go on without waiting."""
        return now_s < self._open_until_s and self._attachments() == self._attachments_at_failure

    def failed(self, now_s: float) -> None:
        """There was no answer within the whole timeout: nobody waits for a while."""
        self._open_until_s = now_s + OPEN_S
        self._attachments_at_failure = self._attachments()

    def succeeded(self) -> None:
        """The agent answered."""
        self._open_until_s = float("-inf")
