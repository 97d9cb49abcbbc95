"""A worker's connections to its agent: one that goes away, one that is silent, one for many."""

import asyncio
import gc
from pathlib import Path

import pytest

from clustersession.net.agent_link import AgentGone, AsyncLink, BlockingLink, LinkPool, LoopLinks
from clustersession.wire.local import Operation
from tests.net.unix_agent import EchoAgent


def test_no_agent_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(AgentGone):
        BlockingLink(tmp_path / "nothing")


def test_an_agent_that_goes_away_or_is_silent_ends_the_wait(tmp_path: Path) -> None:
    agent = EchoAgent(tmp_path / "agent.sock", limit=1)
    try:
        pool = LinkPool(tmp_path / "agent.sock")
        assert pool.ask(Operation.FETCH, 1, timeout_s=5) == [1]
        with pytest.raises(AgentGone):
            pool.ask(Operation.FETCH, 2, timeout_s=5)
        silent = BlockingLink(tmp_path / "agent.sock")
        silent.tell(Operation.FEED_MOVED, 1)
        with pytest.raises(TimeoutError):
            silent.ask(Operation.FEED_MOVED, timeout_s=0)
        silent.close()
        pool.close()
    finally:
        agent.close()


async def test_many_requests_share_one_async_link(tmp_path: Path) -> None:
    agent = EchoAgent(tmp_path / "agent.sock")
    try:
        link = await AsyncLink.connect(tmp_path / "agent.sock")
        asked = [link.ask(Operation.FETCH, number, timeout_s=5) for number in range(200)]
        assert await asyncio.gather(*asked) == [[number] for number in range(200)]
        link.close()
        with pytest.raises(AgentGone):
            await link.ask(Operation.FETCH, timeout_s=5)
    finally:
        await asyncio.to_thread(agent.close)


def test_a_loop_that_ends_leaves_no_connection_behind(tmp_path: Path) -> None:
    agent = EchoAgent(tmp_path / "agent.sock")
    links = LoopLinks(tmp_path / "agent.sock")

    async def request(number: int) -> None:
        link = await links.open()
        assert await link.ask(Operation.FETCH, number, timeout_s=5) == [number]
        assert links.find(asyncio.get_running_loop()) is link

    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    try:
        asyncio.run(request(0))
        before = descriptors()
        for number in range(20):
            asyncio.run(request(number))
        # The other end of the last one may not have been closed yet.
        assert descriptors() <= before + 2
        gc.collect()
        assert not len(links._links)
        links.close()
    finally:
        agent.close()


async def open_at_once(links: LoopLinks) -> None:
    first, *others = await asyncio.gather(*(links.open() for _ in range(3)))
    assert [link is first for link in others] == [True, True]


def test_a_loop_whose_requests_came_at_once_is_forgotten(tmp_path: Path) -> None:
    agent = EchoAgent(tmp_path / "agent.sock")
    links = LoopLinks(tmp_path / "agent.sock")
    try:
        for _ in range(5):
            asyncio.run(open_at_once(links))
        gc.collect()
        assert not len(links._opening)
    finally:
        agent.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_loop_that_is_closed_without_more_ado_is_forgotten_with_the_next_link(
    tmp_path: Path
) -> None:
    agent = EchoAgent(tmp_path / "agent.sock")
    links = LoopLinks(tmp_path / "agent.sock")
    try:
        for _ in range(5):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(open_at_once(links))
            loop.close()
            del loop
        gc.collect()
        tables = links._links, links._opening, links._links.ends
        assert [len(kept) for kept in tables] == [1, 1, 1]
        asyncio.run(open_at_once(links))
        gc.collect()
        assert [len(kept) for kept in tables] == [0, 0, 0]
    finally:
        agent.close()
