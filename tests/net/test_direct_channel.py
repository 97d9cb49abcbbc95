"""A thread's changes on their way to a peer, and what passes for an answer."""

import gc
import time

import pytest

from clustersession.core.feed import Batch
from clustersession.core.identity import Address
from clustersession.net.direct_channel import Answer, BlockingChannel, ChannelPool
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.messages import DirectAnswer, DirectChange, encode_message
from tests.net.direct_peer import KEYS, NAME, PeerThread

BATCH = Batch(b"our node", 1, 1, 2, 2, [])


def ask(channel: BlockingChannel, number: int, patience_s: float = 10.0) -> Answer:
    channel.send(encode_message(DirectChange(BATCH, number)))
    return channel.receive(number, time.monotonic() + patience_s)


def test_a_change_is_answered() -> None:
    def reply(asker: bytes, change: DirectChange) -> list[DirectAnswer]:
        return [DirectAnswer(asker, change.number, change.number % 2 == 1)]

    with PeerThread(reply) as peer:
        channel = BlockingChannel(KEYS, NAME, peer.address)
        assert [ask(channel, number) for number in (1, 2, 3)] == [True, False, True]
        assert [change.number for _, change in peer.asked] == [1, 2, 3]
        channel.close()


def test_only_the_answer_to_this_question_counts() -> None:
    def reply(asker: bytes, change: DirectChange) -> list[DirectAnswer]:
        return [
            DirectAnswer(asker, change.number - 1, True),
            DirectAnswer(b"somebody", change.number, True),
            DirectAnswer(asker, change.number, False),
        ]

    with PeerThread(reply) as peer:
        channel = BlockingChannel(KEYS, NAME, peer.address)
        assert ask(channel, 2) is False
        channel.close()


def test_an_answer_of_another_cluster_is_none() -> None:
    with PeerThread(keys=ClusterKeys.derive(["another"], NAME)) as peer:
        channel = BlockingChannel(KEYS, NAME, peer.address)
        assert ask(channel, 1, 0.2) is None
        assert peer.asked
        channel.close()


def test_no_two_channels_share_a_sender() -> None:
    with PeerThread() as peer:
        pool = ChannelPool(KEYS, NAME)
        channels = [pool.take(peer.address) for _ in range(3)]
        for channel in channels:
            assert ask(channel, 1) is True
            pool.give(peer.address, channel)
        assert pool.take(peer.address) is channels[-1]
        assert len({sender for sender, _ in peer.asked}) == 3
        channels[-1].close()
        pool.close()


def test_where_nobody_listens_that_is_heard_at_once() -> None:
    with PeerThread() as peer:
        address = peer.address
    channel = BlockingChannel(KEYS, NAME, address)
    with pytest.raises(ConnectionRefusedError):
        ask(channel, 1)
    channel.close()


def test_a_pool_keeps_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clustersession.net.direct_channel.IDLE_MAX", 1)
    pool, address = ChannelPool(KEYS, NAME), Address("127.0.0.1", 9)
    channels = [pool.take(address) for _ in range(2)]
    for channel in channels:
        pool.give(address, channel)
    assert [channel.socket.fileno() == -1 for channel in channels] == [False, True]
    pool.close()
    gc.collect()


def test_a_pool_forgets_addresses_of_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers come back elsewhere, for as long as a worker lives."""
    monkeypatch.setattr("clustersession.net.direct_channel.ADDRESSES_MAX", 2)
    pool = ChannelPool(KEYS, NAME)
    channels = {}
    for port in (4001, 4002, 4003):
        address = Address("127.0.0.1", port)
        channels[port] = pool.take(address)
        pool.give(address, channels[port])
    assert [port for port, c in channels.items() if c.socket.fileno() >= 0] == [4002, 4003]
    pool.close()
