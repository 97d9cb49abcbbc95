"""Suspected members are probed, by others too, and hear when nobody finds them."""

from clustersession.core.membership import MemberLost
from clustersession.node import news
from tests.node.world import formed


def test_a_member_that_others_vouch_for_is_not_dropped() -> None:
    world = formed("abc")
    world.partition("a", "c")
    world.run(10)
    assert not world.nodes["a"].seen(MemberLost)
    world.heal()
    world.run(5)
    assert all(m.status == "alive" for m in world.nodes["a"].running.membership)


def test_a_node_that_is_not_found_where_it_says_hears_of_it() -> None:
    world = formed()
    a, b = world.nodes["a"], world.nodes["b"]
    identity = b.running.context.own
    a.running.prober.not_where_it_says(identity, "refused")
    world._pump(a)
    world.run(0.1)
    (said,) = a.seen(news.Unreachable)
    assert (said.address, said.reason) == (b.address, "refused")
    (heard,) = b.seen(news.SelfUnreachable)
    assert heard.node == a.running.context.own.node
    assert not a.seen(MemberLost) + b.seen(MemberLost)
