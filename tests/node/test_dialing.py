"""Addresses are dialled until somebody answers: seeds, former ones, a node under two of them."""

import pytest

from clustersession.core.identity import Address
from clustersession.core.membership import MemberAdded, MemberLost
from clustersession.node.dialing import DIALS_MAX, PROBES_MAX, RETRY_S_MAX
from clustersession.node.effects import Dial
from clustersession.node.life import Life
from tests.node.lives import FakeLink, at, life_over, peer, taken
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


def many(count: int) -> list[Address]:
    return [Address(f"10.1.0.{number}", 4000) for number in range(1, count + 1)]


def dialled(life: Life[FakeLink], now_s: float = 0.0) -> list[Address]:
    """What the driver is asked to dial now."""
    return [effect.address for effect in taken(life, now_s) if isinstance(effect, Dial)]


def sought(life: Life[FakeLink], count: int, now_s: float = 0.0) -> list[Address]:
    """Have a node hear of so many addresses, and wait for none of them to dial first."""
    for address in many(count):
        life.engine.dialer.heard_of(address, at(now_s))
    life.engine.dialer.handle_timer(at(now_s + 2.0))
    return dialled(life, now_s + 2.0)


def test_a_few_are_dialled_at_a_time_and_then_the_next() -> None:
    life = life_over()
    asked = sought(life, 20)
    assert len(asked) == DIALS_MAX
    assert life.engine.dialer.next_deadline() == float("inf"), "it has nothing to do until then"
    while len(asked) < 20:
        life.engine.dial_failed(asked[-1], False, at(2.0))
        life.engine.dialer.handle_timer(at(2.0))
        asked += (new := dialled(life, 2.0))
        assert len(new) == 1
    assert set(asked) == set(many(20))


def test_who_is_suspected_is_dialled_although_others_are_some_of_them() -> None:
    life = life_over()
    sought(life, 20)
    suspects = [Address(f"10.2.0.{number}", 4000) for number in range(2 * PROBES_MAX)]
    for address in suspects:
        life.engine.dialer.dial_now(address, at(2.0))
    assert dialled(life, 2.0) == suspects[:PROBES_MAX]


def test_an_address_that_has_not_been_tried_counts_as_untried_while_it_waits() -> None:
    life = life_over()
    asked = sought(life, DIALS_MAX + 1)
    for address in asked:
        life.engine.dial_failed(address, True, at(2.0))
    assert life.engine.dialer.untried()
    life.engine.dialer.handle_timer(at(2.0))
    (last,) = dialled(life, 2.0)
    life.engine.dial_failed(last, True, at(2.0))
    assert not life.engine.dialer.untried()


def test_a_node_that_is_heard_and_not_reached_is_dialled_less_and_less() -> None:
    """A heartbeat is no reason to try sooner: a node too busy to answer sends them, too."""
    world = World("ab")
    world.make_deaf("a", "b")
    world.start()
    world.run(60.0)
    dials = world.dials
    world.run(60.0)
    assert 60.0 / (RETRY_S_MAX + 1.0) - 2 < world.dials - dials < 60.0 / RETRY_S_MAX + 2


def failing(life: Life[FakeLink]) -> float:
    """Have attempts to reach a peer that is heard fail; returns when one of the latest did."""
    dialer, address, now_s = life.engine.dialer, peer().address, 0.0
    while now_s < 30.0 or dialer.next_deadline() < now_s + RETRY_S_MAX - 0.5:
        now_s += 0.5
        dialer.heard_of(address, at(now_s), identity=peer())
        dialer.handle_timer(at(now_s))
        for dialled_address in dialled(life, now_s):
            life.engine.dial_failed(dialled_address, True, at(now_s))
    return now_s


@pytest.mark.parametrize(("start", "silent_s", "is_sooner"), [
    (1, 0.5, False), (2, 0.5, True), (1, 4.0, True),
])
def test_a_node_that_begins_anew_or_is_heard_again_is_dialled_at_once(
    start: int, silent_s: float, is_sooner: bool
) -> None:
    life = life_over()
    now_s = failing(life) + silent_s
    life.engine.dialer.heard_of(peer().address, at(now_s), identity=peer(start=start))
    assert bool(dialled(life, now_s)) is is_sooner


def test_of_two_nodes_that_hear_of_each_other_one_waits_for_the_other() -> None:
    world = formed("abcdefgh")
    assert world.dials == 8 * 7 / 2
    for node in world.nodes.values():
        assert len(node.links) == 7


def test_who_should_have_dialled_and_does_not_is_dialled() -> None:
    """One of the two may hear nothing of the other."""
    for deaf in "ab":
        world = World("ab")
        world.lose_datagram = lambda sender, receiver, one=deaf: receiver == one
        world.start()
        world.run_until(lambda w=world: w.nodes["a"].links, 2.0)
