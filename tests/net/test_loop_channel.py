"""An event loop's changes on their way to peers."""

import asyncio
import gc
from pathlib import Path

import pytest

from clustersession.core.feed import Batch
from clustersession.core.identity import Address
from clustersession.net.loop_channel import LoopChannels
from clustersession.wire.messages import DirectAnswer, DirectChange, encode_message
from tests.net.direct_peer import KEYS, NAME, PeerThread

BATCH = Batch(b"our node", 1, 1, 2, 2, [])


def question(number: int) -> bytes:
    return encode_message(DirectChange(BATCH, number))


async def test_many_changes_share_one_channel() -> None:
    def reply(asker: bytes, change: DirectChange) -> list[DirectAnswer]:
        return [DirectAnswer(asker, change.number, change.number % 2 == 1)]

    with PeerThread(reply) as peer:
        channels = LoopChannels(KEYS, NAME)
        channel = await channels.open(peer.address)
        assert await channels.open(peer.address) is channel
        waits = [channel.ask(number, question(number)) for number in range(100)]
        async with asyncio.timeout(10):
            assert await asyncio.gather(*waits) == [n % 2 == 1 for n in range(100)]
        channels.close()


async def test_an_answer_to_nobody_and_a_second_one_are_ignored() -> None:
    def reply(asker: bytes, change: DirectChange) -> list[DirectAnswer]:
        mine = DirectAnswer(asker, change.number, True)
        return [DirectAnswer(asker, 99, True), DirectAnswer(b"somebody", 1, False), mine, mine]

    with PeerThread(reply) as peer:
        channels = LoopChannels(KEYS, NAME)
        channel = await channels.open(peer.address)
        async with asyncio.timeout(10):
            assert await channel.ask(1, question(1)) is True
            channel.forget(1)
            assert await channel.ask(2, question(2)) is True
        channels.close()


async def test_where_nobody_listens_all_hear_that() -> None:
    with PeerThread() as peer:
        address = peer.address
    channels = LoopChannels(KEYS, NAME)
    channel = await channels.open(address)
    async with asyncio.timeout(10):
        assert await channel.ask(1, question(1)) is None
    channels.close()


async def test_who_waits_when_a_channel_is_closed_hears_nothing() -> None:
    with PeerThread(lambda asker, change: []) as peer:
        channels = LoopChannels(KEYS, NAME)
        channel = await channels.open(peer.address)
        wait = channel.ask(1, question(1))
        channels.close()
        assert await wait is None


def test_a_loop_that_ends_leaves_no_socket_behind() -> None:
    with PeerThread() as peer:
        channels = LoopChannels(KEYS, NAME)

        async def write(number: int) -> None:
            channel = await channels.open(peer.address)
            async with asyncio.timeout(10):
                assert await channel.ask(number, question(number)) is True

        def descriptors() -> int:
            gc.collect()
            return sum(1 for _ in Path("/proc/self/fd").iterdir())

        asyncio.run(write(1))
        before = descriptors()
        for number in range(2, 12):
            asyncio.run(write(number))
        assert descriptors() == before
        channels.close()


async def test_addresses_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers come back elsewhere, for as long as a worker lives."""
    monkeypatch.setattr("clustersession.net.loop_channel.ADDRESSES_MAX", 2)
    channels = LoopChannels(KEYS, NAME)
    opened = {}
    for port in (4001, 4002, 4003):
        opened[port] = await channels.open(Address("127.0.0.1", port))
    assert [port for port, c in opened.items() if c.socket.fileno() >= 0] == [4002, 4003]
    channels.close()
