"""What is seldom asked for is done at once, and what is asked for all the time together."""

import asyncio

import pytest

from clustersession.agent import pacing
from clustersession.agent.pacing import Paced, TimedParts


async def test_the_first_time_is_now_and_the_next_ones_are_one() -> None:
    done: list[int] = []
    again = asyncio.Event()

    def act() -> None:
        done.append(len(done))
        if len(done) == 2:
            again.set()

    paced = Paced(0.02, act)
    paced.ask()
    assert done == [0]
    for _ in range(5):
        paced.ask()
    assert done == [0]
    async with asyncio.timeout(5.0):
        await again.wait()
    await asyncio.sleep(0.05)
    assert done == [0, 1]
    paced.ask()
    assert done == [0, 1, 2], "after a pause it is at once again"


async def test_what_was_put_off_is_done_before_its_time_or_never() -> None:
    done: list[int] = []
    paced = Paced(60.0, lambda: done.append(len(done)))
    paced.ask()
    paced.ask()
    paced.run()
    assert done == [0, 1]
    paced.ask()
    paced.cancel()
    assert done == [0, 1]


def test_parts_that_take_too_long_become_smaller_and_grow_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(pacing.time, "monotonic", lambda: now_s[0])
    parts = TimedParts(64, 0.002)
    counts = []
    for taken_s in (0.0015, 0.004, 0.1, 1.0, 0.001, 0.001):
        with parts.measured():
            now_s[0] += taken_s
        counts.append(parts.count)
    assert counts == [64, 31, 1, 1, 2, 3]
    assert parts.taken_s == pytest.approx(0.001)
    for _ in range(30):
        with parts.measured():
            pass
    assert parts.count == 64
