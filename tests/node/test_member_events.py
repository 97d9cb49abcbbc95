"""What follows when a member comes, is suspected, or goes."""

from clustersession.core.membership import MemberAdded, MemberLeft, MemberLost
from clustersession.node import effects
from tests.node.world import formed


def test_a_silent_member_dies_within_the_drop_time() -> None:
    world = formed("abc")
    cut_s = world.now_s
    world.partition("a", "c")
    world.partition("b", "c")
    world.run_until(lambda: world.nodes["a"].seen(MemberLost))
    assert world.now_s - cut_s <= world.settings.drop_time_s + 2 * 0.5 + 0.1
    assert world.nodes["a"].seen(MemberLost)[0].member.identity.route == "c"
    world.heal()
    world.run_until(lambda: len(world.nodes["a"].running.membership.present()) == 2)


def test_two_nodes_killed_together_are_both_known_at_once() -> None:
    world = formed("abc")
    world.kill("b")
    world.kill("c")
    world.run(0.6)
    assert len(world.nodes["a"].seen(MemberLost)) == 2


def test_a_goodbye_is_not_a_loss() -> None:
    world = formed("ab")
    node = world.nodes["b"]
    node.running.leave(world.at(node))
    world._pump(node)
    world.run(0.01)
    world.kill("b")
    world.run(5)
    assert world.nodes["a"].seen(MemberLeft)
    assert not world.nodes["a"].seen(MemberLost)


def test_the_second_connection_of_a_leaving_node_does_not_bring_it_back() -> None:
    world = formed("ab")
    b = world.nodes["b"].running
    leaver = world.nodes["a"].running
    leaver.leave(world.at(world.nodes["a"]))
    for effect in leaver.effects():
        if isinstance(effect, effects.Multicast):
            b.receive(leaver.context.own.node, effect.data, world.at(world.nodes["b"]),
                      reliable=False)
    b.link_up(leaver.context.own, world.at(world.nodes["b"]))
    events = b.news()
    assert not [event for event in events if isinstance(event, MemberAdded)]
    assert [event for event in events if isinstance(event, MemberLeft)]


def test_a_member_that_reconnects_before_its_dead_link_is_gone_is_alive_again() -> None:
    world = formed("ab")
    a, b = world.nodes["a"], world.nodes["b"]
    a.running._member_events.tell([a.running.membership._bury(
        a.running.membership.get(b.replica.node), "for this test", world.now_s
    )], world.at(a))
    a.running.effects()  # the link is told to close, and takes its time
    a.running.link_up(b.running.context.own, world.at(a))
    world._pump(a)
    world.run(1)
    assert [x.identity.route for x in a.running.membership.present()] == ["b"]
