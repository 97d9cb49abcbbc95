"""Watching a session: what others change, and its end; nothing is missed and nothing queued."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from clustersession.session.watch import SessionChange
from tests.session.fakes import Users


class Agent:
    """Says when to look, as told by the test."""

    def __init__(self) -> None:
        self.is_open = True
        self.wake: Callable[[], object] = lambda: None
        self.subscribed = 0
        self.asked = asyncio.Event()
        self.closed = 0

    async def subscribe(self, key: str, wake: Callable[[], object]) -> "Agent":
        self.is_open, self.wake = True, wake
        self.subscribed += 1
        self.asked.set()
        return self

    def close(self) -> None:
        self.closed += 1


def write(world: Users, cookie: str, **values: Any) -> None:
    session = world.open(cookie)
    session.update(values)
    world.commit(session)


async def next_of(changes: AsyncIterator[SessionChange]) -> SessionChange:
    return await asyncio.wait_for(anext(changes), 10)


async def test_without_an_agent_changes_and_the_end_are_found_by_looking() -> None:
    world = Users()
    cookie = world.store(user="ann", n=1)
    changes = world.open(cookie).watch()
    waiting = asyncio.create_task(next_of(changes))
    await asyncio.sleep(0)
    write(world, cookie, n=2)
    assert await waiting == SessionChange(("n",), {"n": 2})
    session = world.open(cookie)
    session.invalidate()
    world.commit(session)
    assert await next_of(changes) == SessionChange(ended=True, reason="invalidated")
    with pytest.raises(StopAsyncIteration):
        await anext(changes)


async def test_many_changes_come_as_one_and_own_ones_not_at_all() -> None:
    world = Users()
    cookie = world.store(n=1)
    mine = world.open(cookie)
    changes = mine.watch()
    for number in range(50):
        write(world, cookie, n=number, other=number)
    mine["own"] = 1
    await mine.asave()
    change = await next_of(changes)
    assert set(change.names) == {"n", "other"}
    assert change.values == {"n": 49, "other": 49}
    del mine["own"]
    await mine.asave()
    write(world, cookie, last=1)
    assert (await next_of(changes)).names == ("last",)


async def test_the_agents_word_wakes_and_a_new_agent_is_asked_again() -> None:
    world = Users()
    agent = Agent()
    world.cluster.subscribe = agent.subscribe  # type: ignore[method-assign,assignment]
    cookie = world.store(n=1)
    changes = world.open(cookie).watch()
    waiting = asyncio.create_task(next_of(changes))
    await asyncio.wait_for(agent.asked.wait(), 10)
    write(world, cookie, n=2)
    agent.wake()
    assert (await waiting).names == ("n",)
    waiting = asyncio.create_task(next_of(changes))
    await asyncio.sleep(0)
    # The agent dies, and something happens before another one is there.
    agent.is_open = False
    write(world, cookie, n=3)
    agent.wake()
    assert (await waiting).values == {"n": 3}
    assert agent.subscribed == 2
    await changes.aclose()  # type: ignore[attr-defined]
    assert agent.closed == 1


async def test_expiry_is_an_end_too() -> None:
    world = Users()
    cookie = world.store(n=1)
    changes = world.open(cookie).watch()
    world.now_ms += 40 * 86_400_000
    assert await next_of(changes) == SessionChange(ended=True, reason="expired")


async def test_what_is_not_stored_cannot_be_watched() -> None:
    world = Users()
    with pytest.raises(ValueError, match="asave"):
        world.open([]).watch()


def test_under_trio_changes_and_the_end_are_found_by_looking() -> None:
    async def main() -> None:
        world = Users()
        cookie = world.store(user="ann", n=1)
        changes = world.open(cookie).watch()
        found: list[SessionChange] = []
        first = trio.Event()

        async def watch() -> None:
            async for change in changes:
                found.append(change)
                first.set()

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                await trio.lowlevel.checkpoint()
                write(world, cookie, n=2)
                await first.wait()
                session = world.open(cookie)
                session.invalidate()
                world.commit(session)
        assert found == [
            SessionChange(("n",), {"n": 2}), SessionChange(ended=True, reason="invalidated")
        ]

    trio.run(main)
