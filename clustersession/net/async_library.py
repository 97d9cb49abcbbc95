"""Knows whether asyncio or trio runs the calling task, and waits in either.

Trio has no event loop that our links to the agent could use. There the blocking way is taken, on a
thread; so nothing is written twice. Trio is imported by whoever runs it, and never by us.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

THREADS_MAX = 64
"""How many questions of one run of trio may be under way at a time; the others wait."""

_T = TypeVar("_T")

# By trio's token of a run. Of our own, because an application may keep every thread of trio's busy.
_limiters: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def in_trio() -> bool:
    """Tell whether the calling task is one of trio's."""
    lowlevel = sys.modules.get("trio.lowlevel")
    if lowlevel is None:
        return False
    try:
        lowlevel.current_task()
    except (RuntimeError, AttributeError):
        # No task of trio's, or a module that another thread is importing just now.
        return False
    return True


async def pause(seconds: float) -> None:
    """Let other tasks run for so long."""
    if in_trio():
        import trio

        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


async def in_thread(function: Callable[[], _T]) -> _T:
    """Call what blocks, for a task of trio's, which is not cancelled meanwhile.

    What is called has to have an end: a write whose confirmation was never asked for would not be
    sent to the peers now, and one whose answer nobody takes would be told to nobody.
    """
    import trio

    run = trio.lowlevel.current_trio_token()
    limiter = _limiters.get(run)
    if limiter is None:
        limiter = _limiters[run] = trio.CapacityLimiter(THREADS_MAX)
    with trio.CancelScope(shield=True):
        return await trio.to_thread.run_sync(function, limiter=limiter)
    raise AssertionError("nobody cancels that scope")


def run_beside(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Have a coroutine run as a task of trio's, which the calling task does not wait for."""
    import trio

    trio.lowlevel.spawn_system_task(function)


def run_to_end(function: Callable[[], Coroutine[Any, Any, None]], *, by_trio: bool) -> None:
    """Run a coroutine on this thread, which runs no event loop, until it is done."""
    if by_trio:
        import trio

        trio.run(function)
    else:
        asyncio.run(function())
