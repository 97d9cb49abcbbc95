"""Suspected members are probed, by others too, and hear when nobody finds them."""

from clustersession.core.membership import MemberLost
from clustersession.node import news
from clustersession.node.effects import Send
from clustersession.wire import messages as m
from tests.node.world import formed


def test_a_member_that_others_vouch_for_is_not_dropped() -> None:
    world = formed("abc")
    world.partition("a", "c")
    world.run(10)
    assert not world.nodes["a"].seen(MemberLost)
    world.heal()
    world.run(5)
    assert all(member.status == "alive" for member in world.nodes["a"].running.membership)


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


def test_who_asked_hears_of_a_member_that_nobody_knows_at_once() -> None:
    world = formed("ab")
    asked = world.nodes["b"]
    requester = world.nodes["a"].replica.node
    asked.running.prober.on_request(requester, m.ProbeRequest(b"nobodyhr"), world.at(asked))
    assert Send(requester, m.encode_message(m.ProbeReply(b"nobodyhr", False))) in (
        asked.running.effects()
    )


def test_each_who_asked_is_answered_once_when_it_is_known() -> None:
    world = formed("abcd")
    helper, target = world.nodes["a"], world.nodes["d"].replica.node
    askers = sorted(world.nodes[name].replica.node for name in "bc")
    for asker in askers:
        helper.running.prober.on_request(asker, m.ProbeRequest(target), world.at(helper))
    helper.running.effects()
    helper.running.prober.vouch(target, True)
    helper.running.prober.vouch(target, True)
    answer = m.encode_message(m.ProbeReply(target, True))
    assert list(helper.running.effects()) == [Send(asker, answer) for asker in askers]
