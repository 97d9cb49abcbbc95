"""The engine over a virtual network: the reference scenario and its failures, as scripts."""

import pytest

from clustersession.core.feed import Batch, Cursor
from clustersession.core.membership import MemberAdded, MemberLost
from clustersession.core.state import Delta, SessionState
from clustersession.node import news
from clustersession.wire import messages as m
from clustersession.wire.fields import Entry
from tests.node.world import World, equal, foreign, formed, hand_over, key


@pytest.mark.parametrize("names", ["ab", "abc", "abcdefgh"])
def test_nodes_find_each_other_by_multicast_and_become_ready(names: str) -> None:
    world = formed(names)
    for node in world.nodes.values():
        assert len(node.seen(MemberAdded)) == len(names) - 1
        assert not node.seen(MemberLost)
    assert world.now_s < 3


def test_a_node_alone_becomes_ready_by_itself() -> None:
    world = World("a")
    world.start()
    world.run(1.5)
    assert world.nodes["a"].phase() == "READY"


def test_nothing_injected_nobody_flaps() -> None:
    world = formed("abcde")
    world.run(120)
    for node in world.nodes.values():
        assert not node.seen(MemberLost)
        assert not node.seen(news.GapFound)


def test_a_killed_node_is_known_at_once_and_comes_back_with_everything() -> None:
    world = formed("ab")
    world.write("a", key(1), create=True, user="ann")
    world.run(0.1)
    world.kill("a")
    world.run(0.05)
    (lost,) = world.nodes["b"].seen(MemberLost)
    assert "refused" in lost.member.reason
    world.write("b", key(1), user="bob")
    world.write("b", key(2), create=True, n="1")
    world.start("a")
    world.run_until(lambda: world.nodes["a"].phase() == "READY")
    world.run(0.1)
    assert world.values("a", key(1)) == {"user": "bob"}
    assert world.values("a", key(2)) == {"n": "1"}
    assert len(world.nodes["b"].seen(MemberAdded)) == 2


def test_writes_on_both_sides_of_a_partition_merge_per_attribute() -> None:
    world = formed("ab")
    world.write("a", key(1), create=True, base="0")
    world.run(0.1)
    world.partition("a", "b")
    world.run(5)
    world.write("a", key(1), left="1")
    world.write("b", key(1), right="2")
    world.heal()
    world.run(10)
    assert world.values("a", key(1)) == {"base": "0", "left": "1", "right": "2"}
    assert equal(world)


def test_logout_wins_over_a_write_behind_a_partition() -> None:
    world = formed("ab")
    world.write("a", key(1), create=True, user="ann")
    world.run(0.1)
    world.partition("a", "b")
    world.run(5)
    world.end("a", key(1))
    world.write("b", key(1), user="bob")
    world.heal()
    world.run(10)
    for name in "ab":
        assert world.values(name, key(1)) is None
        state = world.nodes[name].replica.get(key(1))
        assert isinstance(state, SessionState)
        assert state.ended is not None


def test_draining_ends_when_workers_come_back_and_not_while_some_stay() -> None:
    world = formed("ab")
    node, other = world.nodes["a"], world.nodes["b"]

    def do(action: str, *arguments: object) -> None:
        getattr(node.running, action)(*arguments, world.at(node))
        world._pump(node)
        world.run(2)

    def as_seen() -> str:
        (member,) = other.running.membership
        return member.phase.name

    do("drain")
    do("set_serving", True)
    assert (node.phase(), as_seen()) == ("DRAINING", "DRAINING")
    do("set_serving", False)
    assert node.phase() == "DRAINING"
    do("set_serving", True)
    assert (node.phase(), as_seen()) == ("READY", "READY")


def test_an_absurd_suspicion_does_not_move_the_incarnation_out_of_range() -> None:
    world = formed("ab")
    engine = world.nodes["a"].running
    own = engine.context.own
    assert not engine.membership.suspected_by_peer([(own.node, 2**63 - 1)])
    assert engine.context.own == own
    assert engine.membership.suspected_by_peer([(own.node, own.incarnation)])
    assert engine.context.own.incarnation == own.incarnation + 1


def test_a_peer_that_sends_nonsense_of_every_kind_breaks_nothing() -> None:
    world = formed("ab")
    a, b = world.nodes["a"], world.nodes["b"]
    other = b"otherxyz"
    state = foreign(9, 10)[1]
    nonsense: list[m.Message] = [
        m.Hello(1, "clustersession", b.running.context.own),
        m.Changes(Batch(other, 0, 0, 10, 10, [Delta(key(9), state, full=False)]), True),
        m.Changes(Batch(b.replica.node, 2**60, 2**60, 2**61, 2**61, []), True),
        m.Progress(Cursor(2**62, 2**62), resume=False, provisional=False),
        m.Fetched(key(8), None),
        m.SnapshotRequest("zzzz"),
        m.SnapshotPageMessage("", (), "", True, {}, 0),
        m.Digests(5, b"short"),
        m.Listing((5000, 1), (Entry(key(9), {other: 3}, 2**62),), True),
        m.SessionsRequest((key(9),) * 4000),
        m.Sessions(((key(9), state),)),
        m.ProbeRequest(a.replica.node),
        m.ProbeRequest(other),
        m.ProbeReply(other, True),
    ]
    for message in nonsense:
        hand_over(world, "a", "b", message)
    world.run(5)
    world.write("b", key(1), create=True, n="1")
    world.run(3)
    assert world.values("a", key(1)) == {"n": "1"}
