"""Sessions that are not here: the peers are asked, and nobody waits for those who are gone."""

from clustersession.core.identity import Phase
from clustersession.wire import messages as m
from tests.node.world import formed, key


def test_a_session_that_is_not_here_is_fetched_from_a_peer() -> None:
    world = formed("ab", carrier="multicast")
    world.run(2)
    world.lose_datagram = lambda sender, receiver: True
    world.write("a", key(1), create=True, user="ann")
    token = world.fetch("b", key(1))
    world.run(0.01)
    assert world.answer("b", token) is True
    assert world.values("b", key(1)) == {"user": "ann"}


def test_a_session_that_nobody_has_is_unknown_after_the_peers_answered() -> None:
    world = formed("abc")
    token = world.fetch("b", key(1))
    assert world.answer("b", token) is None
    world.run(0.01)
    assert world.answer("b", token) is False


def test_a_peer_is_asked_again_when_its_connection_broke_before_it_answered() -> None:
    world = formed("abc")
    world.lose_datagram = lambda sender, receiver: True
    world.partition("a", "b")
    world.write("a", key(1), create=True, user="ann")
    world.heal()
    token = world.fetch("b", key(1))
    world.reset("a", "b")
    world.run(0.1)
    assert world.answer("b", token) is True


def test_a_peer_that_died_before_it_answered_is_not_waited_for() -> None:
    world = formed("abc", fetch_timeout_s=30)
    token = world.fetch("b", key(1))
    world.kill("a")
    world.run(1)
    assert world.answer("b", token) is False


def test_a_peer_that_said_goodbye_before_it_answered_is_not_waited_for() -> None:
    world = formed("ab", fetch_timeout_s=30)
    a, b = world.nodes["a"], world.nodes["b"]
    world.make_deaf("b", "a")
    token = world.fetch("a", key(1))
    own, at = b.running.context.own, world.at(b)
    world.partition("a", "b")
    world.kill("b")
    world.run(0.003)
    goodbye = m.Heartbeat(
        own, 1, Phase.LEAVING, False, at.wall_ms, 0, 0, {}, (), (), (), False
    )
    a.running.receive(own.node, m.encode_message(goodbye), world.at(a), reliable=False)
    world._pump(a)
    world.run(0.01)
    assert world.answer("a", token) is False


def test_a_fetch_of_a_node_that_has_just_started_waits_for_the_others() -> None:
    world = formed("ab")
    world.write("a", key(1), create=True, user="ann")
    world.run(0.1)
    world.kill("b")
    world.wipe("b")
    world.run(1)
    world.start("b")
    token = world.fetch("b", key(1))
    world.run(0.25)
    assert world.answer("b", token) is True
