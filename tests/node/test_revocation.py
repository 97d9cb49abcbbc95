"""Revocation across nodes: behind a partition, after a loss, with a snapshot."""

from clustersession.core.revocation import revoke
from clustersession.core.state import PRINCIPAL, Change, Creation
from tests.node.world import World

LIFE_MS = 86_400_000


def commit(world: World, name: str, *changes: Change) -> None:
    node = world.nodes[name]
    node.replica.commit(changes, world.at(node).wall_ms)
    world.feed_moved(name)


def login(world: World, name: str, key: str) -> None:
    wall_ms = world.at(world.nodes[name]).wall_ms
    creation = Creation(wall_ms, wall_ms + LIFE_MS, 0)
    commit(world, name, Change(key, wall_ms, {PRINCIPAL: b"ann"}, creation=creation))


def end_all(world: World, name: str) -> None:
    wall_ms = world.at(world.nodes[name]).wall_ms
    commit(world, name, revoke("ann", "", wall_ms, LIFE_MS))


def ready(world: World) -> None:
    world.run_until(lambda: all(world.nodes[n].phase() == "READY" for n in world.nodes))


def test_a_session_from_behind_a_partition_is_ended_when_it_arrives() -> None:
    world = World("abc")
    world.start(*"abc")
    ready(world)
    for other in "ab":
        world.partition("c", other)
    login(world, "c", "unheard-of")
    world.run(2.0)
    assert world.values("a", "unheard-of") is None
    end_all(world, "a")
    world.run(2.0)
    assert world.values("c", "unheard-of") is not None
    world.heal()
    for name in "abc":
        world.run_until(lambda n=name: ended(world, n, "unheard-of"), 60.0)
    login(world, "c", "later")
    for name in "abc":
        world.run_until(lambda n=name: world.values(n, "later") is not None)


def ended(world: World, name: str, key: str) -> bool:
    state = world.nodes[name].replica.get(key)
    return state is not None and state.ended is not None


def test_the_node_that_revoked_may_die_and_a_new_one_gets_it_with_the_snapshot() -> None:
    world = World("abc")
    world.start(*"ab")
    world.run_until(lambda: all(world.nodes[n].phase() == "READY" for n in "ab"))
    world.partition("a", "c")
    world.partition("b", "c")
    world.start("c")
    login(world, "c", "unheard-of")
    end_all(world, "a")
    world.run(1.0)
    world.kill("a")
    world.run(5.0)
    assert world.values("c", "unheard-of") is not None
    world.heal()
    world.run_until(lambda: ended(world, "c", "unheard-of"), 120.0)
    world.run_until(lambda: ended(world, "b", "unheard-of"), 60.0)
    a, b = world.nodes["c"].replica, world.nodes["b"].replica
    assert a.digests() == b.digests()
