"""Whole copies are asked for in answers of bounded size, and again after a broken link."""

from clustersession.node.effects import Send
from clustersession.node.puller import ANSWER_TIMEOUT_S, ASKED_MAX
from clustersession.wire import messages as m
from tests.node.world import MIB, World, equal, foreign, formed, key


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


def asked(world: World, name: str) -> list[tuple[str, ...]]:
    """The questions for whole copies that a node wants sent now."""
    sent = (
        m.decode_message(effect.data) for effect in world.nodes[name].running.effects()
        if isinstance(effect, Send)
    )
    return [message.keys for message in sent if isinstance(message, m.SessionsRequest)]


def test_what_is_under_way_is_not_asked_for_twice_until_the_answer_is_late() -> None:
    world = formed("ab")
    a, b = world.nodes["a"], world.nodes["b"].replica.node
    puller, at = a.running.puller, world.at(a)
    asked(world, "a")
    puller.pull(b, [key(1)], at)
    puller.pull(b, [key(1), key(2)], at)
    assert asked(world, "a") == [(key(1),)]
    assert list(puller.pending(b)) == [key(1), key(2)]
    late = at._replace(now_s=at.now_s + ANSWER_TIMEOUT_S)
    puller.pull(b, [key(3)], late)
    assert asked(world, "a") == [(key(3),)], "one that answers nothing holds up nobody"


def test_what_somebody_waits_for_comes_before_what_is_not_under_way() -> None:
    world = formed("ab")
    a, b = world.nodes["a"], world.nodes["b"].replica.node
    puller, at = a.running.puller, world.at(a)
    many = [key(number) for number in range(ASKED_MAX + 10)]
    puller.pull(b, many, at)
    puller.pull(b, [many[0], many[-1], key(5000)], at, first=True)
    under_way, rest = many[:ASKED_MAX], many[ASKED_MAX:-1]
    assert list(puller.pending(b)) == [*under_way, many[-1], key(5000), *rest]


def test_what_the_peer_passes_over_is_not_waited_for() -> None:
    world = formed("ab")
    a, b = world.nodes["a"], world.nodes["b"].replica.node
    puller, at = a.running.puller, world.at(a)
    puller.pull(b, [key(1), key(2), key(3)], at)
    asked(world, "a")
    assert puller.on_sessions(b, m.Sessions((foreign(2, 10),)), at) == 1
    assert asked(world, "a") == [(key(3),)]
    assert puller.on_sessions(b, m.Sessions(()), at) == 0
    assert not puller.pending(b)
    assert not asked(world, "a")


def test_copies_that_nobody_asked_for_are_not_taken() -> None:
    world = formed("ab")
    a, b = world.nodes["a"], world.nodes["b"].replica.node
    assert a.running.puller.on_sessions(b, m.Sessions((foreign(1, 10),)), world.at(a)) == 0
    assert a.replica.get(key(1)) is None


def test_few_sessions_are_asked_for_at_a_time_and_all_come() -> None:
    world = formed("ab")
    a, b = world.nodes["a"], world.nodes["b"]
    for number in range(2 * ASKED_MAX + 5):
        b.replica.merge([foreign(number, 10)], world.at(b).wall_ms)
    wanted = [key(number) for number in range(2 * ASKED_MAX + 5)]
    asked(world, "a")
    a.running.puller.pull(b.replica.node, wanted, world.at(a))
    assert asked(world, "a") == [tuple(wanted[:ASKED_MAX])]
    a.running.puller.forget(b.replica.node)
    a.running.puller.pull(b.replica.node, wanted, world.at(a))
    world._pump(a)
    world.run(0.5)
    assert equal(world)
