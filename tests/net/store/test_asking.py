"""A store is asked by a tool: it answers, tells what others write, and is lost."""

import asyncio

import pytest

from clustersession.core.errors import StoreError
from clustersession.core.state import SessionState
from clustersession.net.store.asking import StoreAsker
from clustersession.node.store_calls import Merge, MergeAnswer, Read
from tests.net.store.plans import plan_for
from tests.store.servers import Server

NODE = b"n" * 8
STATE = SessionState(1, 1, 2**50, {}, {NODE: 1}, None)


async def test_one_that_hears_all_is_told_of_sessions_that_it_never_read(empty: Server) -> None:
    reader, writer = StoreAsker(plan_for(empty, hears_all=True)), StoreAsker(plan_for(empty))
    try:
        await reader.store.open(())
        await writer.store.open(())
        assert await writer.ask(Merge("k" * 22, STATE, whole=True)) == [MergeAnswer.DONE]
        async with asyncio.timeout(5):
            await reader.heard.wait()
        assert reader.changed == {"k" * 22}
        assert await reader.ask(Read("k" * 22), Read("other")) == [STATE, None]
        assert not writer.changed
    finally:
        await reader.store.close()
        await writer.store.close()


async def test_a_store_that_goes_is_lost(server: Server) -> None:
    asker = StoreAsker(plan_for(server))
    await asker.store.open(())
    assert asker.lost is None
    server.kill()
    with pytest.raises(StoreError):
        await asker.ask(Read("k"))
    assert asker.lost is not None
    await asker.store.close()
