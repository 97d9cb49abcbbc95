"""Addresses are dialled until somebody answers: seeds, former ones, a node under two of them."""

from clustersession.core.identity import Address
from clustersession.core.membership import MemberAdded, MemberLost
from tests.node.world import World, formed


def test_one_seed_is_enough_for_all_to_meet() -> None:
    world = World("abcd", multicast_address="", seeds=("10.0.0.1:4000",))
    world.start()
    for node in world.nodes.values():
        node.running.seeds(frozenset({world.nodes["a"].address}), world.at(node))
        world._pump(node)
    world.run_until(lambda: all(len(n.running.membership.present()) == 3
                                for n in world.nodes.values()))
    world.run_until(lambda: all(n.phase() == "READY" for n in world.nodes.values()))


def test_former_seeds_are_forgotten_after_an_hour() -> None:
    """Where names change all day, addresses of the past must not fill the table for ever."""
    world = formed("a", multicast_address="")
    node = world.nodes["a"]
    gone = frozenset({Address("10.9.0.1", 4000)})
    node.running.seeds(gone, world.at(node))
    world.run(60.0)
    assert world.dials > 5
    node.running.seeds(frozenset(), world.at(node))
    world.run(3700.0)
    dials = world.dials
    world.run(600.0)
    assert world.dials == dials
    # A seed for ever, though.
    node.running.seeds(gone, world.at(node))
    world.run(8000.0)
    dials = world.dials
    world.run(60.0)
    assert world.dials > dials


def test_a_seed_under_another_address_is_dialled_once() -> None:
    world = World("ab", multicast_address="", seeds=("192.0.2.7:4000",))
    alias = Address("192.0.2.7", 4000)
    world.aliases[alias] = "b"
    world.start()
    node = world.nodes["a"]
    for _ in range(10):
        node.running.seeds(frozenset({alias}), world.at(node))
        world._pump(node)
        world.run(1)
    assert world.dials < 6
    world.kill("b")
    world.run(1)
    world.start("b")
    world.run_until(lambda: node.running.membership.present())


def test_two_connected_members_at_one_address_do_not_expel_each_other() -> None:
    world = World("abc", multicast_address="")
    world.aliases[Address("192.0.2.8", 4000)] = "b"
    world.aliases[Address("192.0.2.9", 4000)] = "c"
    world.nodes["b"].address = world.nodes["c"].address = Address("172.17.0.2", 4000)
    world.start()
    node = world.nodes["a"]
    seeds = frozenset({Address("192.0.2.8", 4000), Address("192.0.2.9", 4000)})
    for _ in range(10):
        node.running.seeds(seeds, world.at(node))
        world._pump(node)
        world.run(1)
    assert not node.seen(MemberLost)
    assert len(node.seen(MemberAdded)) == 2
