"""How long a request waits for its agent: the whole timeout once, then not at all for a while.

An agent that cannot start, or hangs, would otherwise cost every write a full timeout. A worker that
waited in vain goes on without its agent until another one attaches, or until it is time to look.
"""

from collections.abc import Callable

GIVE_UP_S = 5.0


class CircuitBreaker:
    """Given up or not. ``attachments`` counts how often this process has attached to an agent."""

    def __init__(self, attachments: Callable[[], int]) -> None:
        self._attachments = attachments
        self._given_up_until_s = float("-inf")
        self._attachments_then = 0

    def is_over(self, now_s: float) -> bool:
        """Whether to go on without waiting."""
        return now_s < self._given_up_until_s and self._attachments() == self._attachments_then

    def disappointed(self, now_s: float) -> None:
        """There was no answer within the whole timeout."""
        self._given_up_until_s = now_s + GIVE_UP_S
        self._attachments_then = self._attachments()

    def answered(self) -> None:
        """The agent answers."""
        self._given_up_until_s = float("-inf")
