"""Whole copies are asked for in answers of bounded size, and again after a broken link."""

from tests.node.world import MIB, equal, foreign, formed, key


def test_many_large_sessions_are_repaired_without_breaking_the_link() -> None:
    world = formed("ab")
    for number in range(20):
        replica, wall_ms = world.nodes["a"].replica, world.at(world.nodes["a"]).wall_ms
        replica.merge([foreign(number, 4 * MIB)], wall_ms)
    world.run(12)
    assert world.broken_by_size == 0
    assert equal(world)


def test_a_missing_copy_is_asked_for_again_when_the_link_breaks_meanwhile() -> None:
    world = formed("abc", carrier="tcp", repair_interval_s=60)
    world.make_deaf("a", "c")
    world.write("a", key(1), create=True, user="ann")
    world.run(0.05)
    world.write("b", key(1), cart="1")
    world.run(0.0015)
    world.reset("b", "c")
    world.run(0.5)
    assert world.values("c", key(1)) == {"user": "ann", "cart": "1"}
