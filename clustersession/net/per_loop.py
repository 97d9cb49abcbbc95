"""Keeps something for each event loop of a process, from its first use to the loop's end.

An application may have a loop for each request, and what is kept holds on to its loop.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Is a table by event loop. release: what is done with what a loop has, when that goes.

    _kept: by loop. ends: by loop, what the loop closes when it ends.
    """

    def __init__(self, release: Callable[[asyncio.AbstractEventLoop, T], None]) -> None:
        self._release = release
        self._kept: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()
        self.ends: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None]]
        self.ends = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, loop: asyncio.AbstractEventLoop) -> T | None:
        """Return what a loop has."""
        return self._kept.get(loop)

    async def keep(self, kept: T) -> None:
        """Keep something for the running loop, in the place of what it had."""
        loop = asyncio.get_running_loop()
        self._forget_closed()
        self._kept[loop] = kept
        if loop not in self.ends:
            self.ends[loop] = ends = self._end_with(loop)
            await anext(ends)

    def close(self) -> None:
        """Release what all loops have."""
        for reference in self._kept.keyrefs():
            if (loop := reference()) is not None:
                self._let_go(loop)

    async def _end_with(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None]:
        """Release what the loop has when it ends: all it does then is to close its generators."""
        try:
            yield
        finally:
            self.ends.pop(loop, None)
            self._let_go(loop)
            # A transport closes its socket with the next turn of the loop.
            await asyncio.sleep(0)

    def _forget_closed(self) -> None:
        """Forget the loops that were closed without a word to their generators."""
        # No iteration over the loops themselves: another thread may add one meanwhile.
        for loop in (reference() for reference in self._kept.keyrefs()):
            if loop is not None and loop.is_closed():
                self.ends.pop(loop, None)
                self._let_go(loop)

    def _let_go(self, loop: asyncio.AbstractEventLoop) -> None:
        kept = self._kept.pop(loop, None)
        if kept is not None:
            self._release(loop, kept)
