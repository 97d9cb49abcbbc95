"""A worker's connections to its agent: one that goes away, one that is silent, one for many."""

import asyncio
from pathlib import Path

import pytest

from clustersession.net.agent_link import AgentGone, AsyncLink, BlockingLink, LinkPool
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
