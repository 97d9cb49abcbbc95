"""Waits for a condition, with a deadline: coroutines, and what has a thread to itself."""

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], deadline_s: float = 10.0) -> None:
    for _ in range(int(deadline_s / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition did not come true in time")


def wait_until(condition: Callable[[], object], deadline_s: float = 20.0) -> None:
    until_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until_s, "the condition did not come true in time"
        time.sleep(0.002)
