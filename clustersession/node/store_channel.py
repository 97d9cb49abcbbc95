"""Numbers the groups of calls that go to the store, and gives each its answers back."""

from collections.abc import Callable, Sequence

from clustersession.node.context import Context
from clustersession.node.effects import AskStore
from clustersession.node.moment import Moment
from clustersession.node.store_calls import StoreAnswer, StoreCall

Done = Callable[[Sequence[StoreAnswer], Moment], None]
"""Takes the answers of a group, in the order of its calls."""


class StoreChannel:
    """Is the node's side of the connection with the store."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # Whether there is a connection.
        self.is_up = False
        # The number of the last group. It goes on in the next life of the node: a connection
        # outlives a node id, and answers may be under way.
        self.number = 0
        # By number, who waits for an answer of this connection, and since when; in order.
        self._waiting: dict[int, tuple[Done, float]] = {}
        # When the store last said anything, or the connection began.
        self._heard_s = 0.0

    def open(self, at: Moment) -> None:
        """Note that there is a connection."""
        self.is_up = True
        self._heard_s = at.now_s
        self._waiting.clear()

    def close(self) -> None:
        """Give up what was not answered."""
        self.is_up = False
        self._waiting.clear()

    def ask(self, calls: Sequence[StoreCall], done: Done, at: Moment) -> None:
        """Send a group; ``done`` gets the answers, unless the connection breaks first."""
        if self.is_up:
            self.number += 1
            self._waiting[self.number] = done, at.now_s
            self._context.emit(AskStore(self.number, calls))

    def answered(self, number: int, answers: Sequence[StoreAnswer], at: Moment) -> None:
        """Give a group its answers; those of a former life of the node are nobody's."""
        self._heard_s = at.now_s
        done, _ = self._waiting.pop(number, (None, 0.0))
        if done is not None:
            done(answers, at)

    def silent_s(self, at: Moment) -> float:
        """Return for how long the store has owed an answer and said nothing."""
        if not self._waiting:
            return 0.0
        _, asked_s = next(iter(self._waiting.values()))
        return at.now_s - max(asked_s, self._heard_s)
