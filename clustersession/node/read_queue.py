"""Knows what is to be read from the store: in which order, what is under way, how far a check is.

Records of revocations go before sessions, because sessions wait for them here. What changes while
it is under way is wanted again, since the answer may be from before.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from clustersession.core.revocation import tag_of_revocation


class ReadQueue:
    """Holds the keys that are wanted and those that were asked for; asks for none itself."""

    def __init__(self) -> None:
        # How many groups of calls are not answered.
        self.groups = 0
        self._records: dict[str, None] = {}
        self._sessions: dict[str, None] = {}
        # Asked for and not answered, with whether they are wanted once more.
        self._under_way: dict[str, bool] = {}
        # Of these, what a request has missed since: its answer is that of the next question.
        self._missed: set[str] = set()
        # After which key the check of all that is here goes on, None: all were wanted; and whether
        # it is to begin anew then.
        self._after: str | None = None
        self._checks_again = False

    def __len__(self) -> int:
        """Return how many keys are wanted."""
        return len(self._records) + len(self._sessions)

    # ---- what is wanted --------------------------------------------------------------------------

    def want(self, key: str) -> None:
        """Want a session, or before all sessions the record of a revocation."""
        self._wanted_like(key)[key] = None

    def want_in_turn(self, keys: Iterable[str]) -> None:
        """Want these one after the other, records too: nothing waits for them."""
        self._sessions.update(dict.fromkeys(keys))

    def want_only(self, keys: Iterable[str]) -> None:
        """Want these, unless they are under way, and nothing else."""
        self._records.clear()
        self._sessions.clear()
        for key in self.unasked(keys):
            self.want(key)

    def want_again_if_asked(self, key: str) -> bool:
        """Want a key once more that is under way; False: it is not."""
        if key in self._under_way:
            self._under_way[key] = True
            return True
        return False

    def want_again_what_was_asked(self) -> None:
        """Want all once more that is under way."""
        self._under_way = dict.fromkeys(self._under_way, True)

    def is_wanted(self, key: str) -> bool:
        """Tell whether a key waits for being asked for."""
        return key in self._wanted_like(key)

    def _wanted_like(self, key: str) -> dict[str, None]:
        return self._sessions if tag_of_revocation(key) is None else self._records

    def in_order(self) -> Iterator[str]:
        """Yield what is wanted, what is to be asked for first before the rest."""
        return chain(self._records, self._sessions)

    # ---- what is under way -----------------------------------------------------------------------

    def is_asked(self, key: str) -> bool:
        """Tell whether an answer is due."""
        return key in self._under_way

    def unasked(self, keys: Iterable[str]) -> list[str]:
        """Return those of which no answer is due."""
        return [key for key in keys if key not in self._under_way]

    def miss(self, key: str) -> bool:
        """Note that a request waits for a key; True: it is to be asked for now.

        What is under way may have been asked for before it was there, and is asked for after it.
        """
        if key in self._under_way:
            self._missed.add(key)
            return False
        return True

    def ask(self, keys: Iterable[str]) -> None:
        """Note that a group of keys was asked for."""
        self.groups += 1
        for key in keys:
            self._sessions.pop(key, None)
            self._records.pop(key, None)
            self._under_way[key] = False

    def answer(self, keys: Iterable[str]) -> Sequence[str]:
        """Note that a group was answered; return what is to be asked for at once, in order."""
        self.groups -= 1
        for key in keys:
            if self._under_way.pop(key, False):
                self.want(key)
        missed = self._missed.intersection(keys)
        self._missed -= missed
        return sorted(missed)

    # ---- the check of all that is here -----------------------------------------------------------

    @property
    def is_checking(self) -> bool:
        """Tell whether there are keys here that the check has not come to."""
        return self._after is not None

    @property
    def checked_up_to(self) -> str:
        """Return after which key the check goes on, while it does."""
        return self._after or ""

    def check_all(self) -> None:
        """Begin a check, from the first key."""
        self._after, self._checks_again = "", False

    def check_once_more(self) -> None:
        """Have a check begin when the present one is through, or at once."""
        if self._after is None:
            self._after = ""
        else:
            self._checks_again = True

    def check(self, keys: Sequence[str]) -> None:
        """Want the next keys of a check; none: it is through."""
        self._after = keys[-1] if keys else None
        self.want_in_turn(self.unasked(keys))
        if self._after is None and self._checks_again:
            self.check_all()
