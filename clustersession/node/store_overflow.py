"""Remembers what a full store did not take, so that it is tried again and not confirmed.

What follows in the feed is pushed all the same, and the cursor goes on. So a session that is
remembered here goes to the store whole: a part of it would name writes that the store never had.
And a place in the feed counts as held only when the very merge is known that took it there: an
earlier write to a session that was refused has no place in the feed any more, and is refused too.
"""

from collections.abc import Sequence
from itertools import islice

from clustersession.core.state import ENDED_INVALIDATED, SessionState
from clustersession.node.context import Context, copy_bytes_max
from clustersession.node.news import StoreFull, StoreHasSpace, TooLarge
from clustersession.node.store_calls import Merge, MergeAnswer, StoreAnswer

REFUSED_MAX = 4096
PLACES_MAX = 4096
RETRIED_AT_ONCE = 64
RETRIED_BYTES_MAX = 64 * 1024


class Overflow:
    """Is what the store lacks for want of space."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # The keys of what was refused, what was tried longest ago first; at most REFUSED_MAX.
        self._refused: dict[str, None] = {}
        # Something found no room there: everything is to be compared when there is space.
        self._forgets = False
        # Up to where the store had our feed before it refused any; None while it lacks nothing.
        self._held: int | None = None
        # Places beyond that which it took all the same: the latest PLACES_MAX.
        self._taken: dict[int, None] = {}
        # Places that it did not take, or that count so: the latest PLACES_MAX.
        self._missed: dict[int, None] = {}
        # People were told that the store is full.
        self._told = False

    @property
    def is_full(self) -> bool:
        """Tell whether the store lacks something."""
        return self._held is not None

    def __len__(self) -> int:
        return len(self._refused)

    def refuses(self, seq: int) -> bool:
        """Tell whether the store may not have taken our write number ``seq``."""
        return self._held is not None and seq > self._held and seq not in self._taken

    def lacks(self, key: str) -> bool:
        """Tell whether the store may lack an earlier write to a session."""
        return self._forgets or key in self._refused

    def floor(self, floor: int) -> int:
        """Return up to where the store has all of our feed, which it has otherwise to a place."""
        return floor if self._held is None else min(floor, self._held)

    def forget(self) -> None:
        """Forget it, because with a new connection everything is compared."""
        self._refused.clear()
        self._taken.clear()
        self._missed.clear()
        self._forgets, self._held = False, None

    def note(self, merges: Sequence[Merge], answers: Sequence[StoreAnswer], held: int) -> bool:
        """Take note of what merges have come to; tell whether any was refused.

        ``held``: up to where the store has our feed without them.
        """
        pairs = list(zip(merges, answers, strict=False))
        refused = any(answer is MergeAnswer.FULL for _, answer in pairs)
        if refused and self._held is None:
            self._held = held
        for merge, answer in pairs:
            if answer is MergeAnswer.FULL:
                self._refuse(merge)
            elif answer is MergeAnswer.TOO_LARGE:
                self._context.tell(TooLarge(merge.key))
                self._refused.pop(merge.key, None)
            elif answer in (MergeAnswer.DONE, MergeAnswer.SAME):
                self._take(merge)
            elif merge.key in self._refused:
                self._refuse(merge)
        self._settle()
        if self.is_full and not self._told:
            self._told = True
            self._context.tell(StoreFull())
        return refused

    def _refuse(self, merge: Merge) -> None:
        _add(self._missed, self._place_of(merge.state))
        known = merge.key in self._refused
        if known or len(self._refused) < REFUSED_MAX:
            # Behind all others.
            self._refused.pop(merge.key, None)
            self._refused[merge.key] = None
        else:
            self._forgets = True

    def _take(self, merge: Merge) -> None:
        if merge.whole:
            self._refused.pop(merge.key, None)
        ended, place = merge.state.ended, self._place_of(merge.state)
        # Of one commit: ends of other ids follow a session that begins; who waits names the last.
        ends_others = ended is not None and ended.reason != ENDED_INVALIDATED
        if ends_others and place - 1 in self._missed:
            # It may have been there, told with all that is here, before the other was sent.
            self._taken.pop(place, None)
            _add(self._missed, place)
        elif self._held is not None and place > self._held:
            _add(self._taken, place)

    def _place_of(self, state: SessionState) -> int:
        return state.versions.get(self._context.own.node, 0)

    def _settle(self) -> None:
        if not self._refused and not self._forgets:
            self._held = None
            self._taken.clear()
            self._missed.clear()

    def due(self) -> Sequence[str]:
        """Return what is to be tried again next."""
        keys: list[str] = []
        size = 0
        for key in list(islice(self._refused, RETRIED_AT_ONCE)):
            state = self._context.replica.get(key)
            if state is None:
                # It has expired here.
                del self._refused[key]
                continue
            size += copy_bytes_max(state)
            if keys and size > RETRIED_BYTES_MAX:
                break
            keys.append(key)
        self._settle()
        return keys

    def is_to_be_compared(self) -> bool:
        """Tell, once, that all that is remembered has got there, and more was not remembered."""
        if self._refused or not self._forgets:
            return False
        self._forgets = False
        self._settle()
        return True

    def tick(self, *, checked: bool) -> None:
        """Tell people when the store has taken everything."""
        if self._told and checked and not self.is_full:
            self._told = False
            self._context.tell(StoreHasSpace())


def _add(places: dict[int, None], place: int) -> None:
    places[place] = None
    if len(places) > PLACES_MAX:
        del places[next(iter(places))]
