"""What is seldom asked for is done at once, and what is asked for all the time together."""

import asyncio

from clustersession.agent.pacing import Paced


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
