"""Asking who holds a session: every peer's word counts, and nothing changes by asking."""

from clustersession.node import effects
from clustersession.node.locator import QUESTIONS_MAX
from tests.node.world import World, formed, key


def locate(world: World, name: str, session: str, timeout_s: float = 1.0, token: int = 7) -> None:
    node = world.nodes[name]
    node.running.locator.locate(token, session, world.now_s + timeout_s)
    world.feed_moved(name)


def answers(world: World, name: str) -> list[effects.Located]:
    return world.nodes[name].seen(effects.Located)


def world_where_only_a_holds_it() -> World:
    world = formed("abc", carrier="multicast")
    world.run(2)
    world.lose_datagram = lambda sender, receiver: True
    world.write("a", key(1), create=True, user="ann")
    return world


def test_every_peer_tells_what_it_holds_and_no_copy_is_kept() -> None:
    world = world_where_only_a_holds_it()
    locate(world, "b", key(1))
    assert not answers(world, "b")
    world.run(0.01)
    (located,) = answers(world, "b")
    holder, other = (world.nodes[name].replica for name in "ac")
    assert located.copies == {holder.node: holder.get(key(1)), other.node: None}
    assert located.silent == ()
    assert world.values("b", key(1)) is None


def test_a_request_that_waits_for_the_same_session_still_gets_it() -> None:
    world = world_where_only_a_holds_it()
    locate(world, "b", key(1))
    token = world.fetch("b", key(1))
    world.run(0.01)
    assert world.answer("b", token) is True
    assert len(answers(world, "b")) == 1
    assert world.values("b", key(1)) == {"user": "ann"}


def test_a_peer_that_says_nothing_is_named_at_the_deadline() -> None:
    world = world_where_only_a_holds_it()
    world.make_deaf("a", "b")
    locate(world, "b", key(1), timeout_s=0.3)
    world.run(0.2)
    assert not answers(world, "b")
    world.run(0.2)
    (located,) = answers(world, "b")
    assert located.silent == (world.nodes["a"].replica.node,)
    assert list(located.copies) == [world.nodes["c"].replica.node]


def test_a_peer_that_is_gone_is_not_waited_for() -> None:
    world = world_where_only_a_holds_it()
    world.make_deaf("a", "b")
    locate(world, "b", key(1), timeout_s=60.0)
    world.run(0.01)
    world.kill("a")
    world.run(2)
    (located,) = answers(world, "b")
    assert located.silent == (world.nodes["a"].replica.node,)


def test_a_node_alone_answers_at_once_and_questions_are_bounded() -> None:
    world = formed("a")
    locate(world, "a", key(1))
    assert answers(world, "a")[0] == effects.Located(7, {}, ())
    world = world_where_only_a_holds_it()
    world.make_deaf("a", "b")
    for number in range(QUESTIONS_MAX + 1):
        locate(world, "b", key(1), timeout_s=1.0, token=number)
    assert [located.token for located in answers(world, "b")] == [QUESTIONS_MAX]
    world.run(1.1)
    assert len(answers(world, "b")) == QUESTIONS_MAX + 1


def test_what_a_peer_kept_back_from_a_lookup_is_no_answer_to_the_question() -> None:
    world = formed("ab", carrier="multicast")
    world.run(2)
    world.write("a", key(1), create=True, big="x" * 100_000)
    world.run(0.5)
    b, holder = world.nodes["b"], world.nodes["a"].replica
    # The lookup asks first, so its answer is the first that comes.
    world.fetch("b", key(1), a=10**9)
    locate(world, "b", key(1))
    world.run(0.01)
    (located,) = b.seen(effects.Located)
    assert located.copies == {holder.node: holder.get(key(1))}
