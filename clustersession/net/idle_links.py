"""Holds the connections of a worker that no thread uses at this moment, to be lent again."""

from collections import deque
from contextlib import suppress
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """Is a connection of one thread at a time."""

    def close(self) -> None: ...


L = TypeVar("L", bound=Closable)


class IdleLinks(Generic[L]):
    """Is a stock of connections of which any will do; those beyond ``links_max`` are closed.

    _idle: the last used one last.
    """

    def __init__(self, links_max: int) -> None:
        self._idle: deque[L] = deque(maxlen=links_max)
        self._links_max = links_max

    def take(self) -> L | None:
        """Return a connection for the caller alone; None when there is none."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def give(self, link: L) -> None:
        """Take a connection back."""
        if len(self._idle) < self._links_max:
            self._idle.append(link)
        else:
            link.close()

    def close(self) -> None:
        """Close all that are here."""
        # Another thread may take the last one between the question and the taking.
        with suppress(IndexError):
            while self._idle:
                self._idle.pop().close()
