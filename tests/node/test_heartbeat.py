"""Heartbeats: how many, on which way, and what they make good."""

import pytest

from clustersession.core.identity import Address, Phase
from clustersession.core.membership import MemberLost
from clustersession.node import news
from clustersession.wire import messages as m
from tests.node.world import World, formed, key


def test_nodes_that_start_together_do_not_set_each_other_off() -> None:
    world = World("abcd")
    world.start()
    world.run(0.5)
    assert world.datagrams < 4 * 15


def test_the_loss_of_the_last_datagram_is_found_by_the_heartbeat() -> None:
    world = formed("abc", carrier="multicast")
    world.run(2)
    world.lose_datagram = lambda sender, receiver: receiver == "b"
    world.write("a", key(1), create=True, n="1")
    world.run(0.005)
    world.lose_datagram = lambda sender, receiver: False
    world.run(1.2)
    assert world.values("b", key(1)) == {"n": "1"}


def test_multicast_that_is_not_even_heard_by_ourselves_is_reported_once() -> None:
    world = World("a")
    world.lose_datagram = lambda sender, receiver: True
    world.start()
    world.run(30)
    assert len(world.nodes["a"].seen(news.MulticastUnheard)) == 1


def test_no_multicast_between_two_that_are_connected_still_beats() -> None:
    world = formed("ab")
    world.lose_datagram = lambda sender, receiver: sender != receiver
    world.run(30)
    assert not world.nodes["a"].seen(MemberLost)
    world.write("a", key(1), create=True, user="ann")
    world.run(0.1)
    assert world.values("b", key(1)) == {"user": "ann"}


def test_the_gossip_of_impossible_addresses_is_refused() -> None:
    world = formed("ab")
    beat = m.Heartbeat(
        identity=world.nodes["b"].running.context.own, uptime_ms=0, phase=Phase.READY,
        serving=True, wall_ms=0, head=0, multicast_head=0, cursors={}, heard=(), suspects=(),
        members=(Address("no\x00host", 1),), asks=False,
    )
    with pytest.raises(m.WireError):
        m.decode_message(m.encode_message(beat))


def test_a_peer_that_listens_nowhere_is_not_passed_on() -> None:
    world = formed("ab")
    first, second = (world.nodes[name].running for name in "ab")
    own = second.context.own
    beat = m.Heartbeat(
        identity=own._replace(address=Address("10.0.0.9", 0)), uptime_ms=0, phase=Phase.READY,
        serving=True, wall_ms=0, head=0, multicast_head=0, cursors={}, heard=(), suspects=(),
        members=(), asks=False,
    )
    first.receive(own.node, m.encode_message(beat), world.at(world.nodes["a"]), reliable=True)
    member = first.membership.get(own.node)
    assert member is not None
    assert member.identity.address == own.address
