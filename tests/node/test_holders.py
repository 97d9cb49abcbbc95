"""Whoever sends, confirms, asks or compares goes by ``holders``, here with two copies of each."""

from collections.abc import Sequence

import pytest

from clustersession.node.effects import Send
from clustersession.wire import messages as m
from clustersession.wire.fields import Entry
from tests.node.world import Node, World, formed, key

FAR_MS = 2**50


def first_and_second_or_last(key: str, members: Sequence[bytes]) -> Sequence[bytes]:
    """The first member keeps all, the second what is odd and the last what is even."""
    return (members[0], members[1] if int(key) % 2 else members[-1]) if members[1:] else members


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Three nodes linked by TCP; a and b keep the odd keys, a and c the even ones."""
    monkeypatch.setattr("clustersession.node.context.holders", first_and_second_or_last)
    world = formed("abc", carrier="tcp")
    world.run(2)
    return world


def sent(world: World, node: Node) -> list[tuple[str, m.Message]]:
    """What the engine wants to send, and to whom; it is not sent."""
    names = {other.replica.node: name for name, other in world.nodes.items()}
    return [
        (names[effect.node], m.decode_message(effect.data))
        for effect in node.running.effects()
        if isinstance(effect, Send)
    ]


def asked(world: World, name: str) -> set[str]:
    return {to for to, said in sent(world, world.nodes[name]) if isinstance(said, m.Fetch)}


def test_members_are_ourselves_and_who_is_present_in_order(world: World) -> None:
    nodes = [world.nodes[name].replica.node for name in "abc"]
    contexts = {name: world.nodes[name].running.context for name in "abc"}
    assert [list(context.members) for context in contexts.values()] == [nodes] * 3
    world.kill("c")
    world.run(10)
    assert list(contexts["b"].members) == nodes[:2]


def test_a_lookup_asks_only_holders(world: World) -> None:
    b, c = world.nodes["b"], world.nodes["c"]
    b.running.fetch(1, key(2), {}, world.at(b))
    assert asked(world, "b") == {"a", "c"}
    c.running.fetch(1, key(1), {}, world.at(c))
    assert asked(world, "c") == {"a", "b"}
    b.running.fetch(2, key(3), {}, world.at(b))
    assert asked(world, "b") == {"a"}


def test_a_peer_that_comes_is_asked_only_for_what_it_holds(world: World) -> None:
    a, b, c = (world.nodes[name] for name in "abc")
    a.running.fetch(1, key(1), {}, world.at(a))
    for other in (b, c):
        a.running.link_down(other.replica.node, "connection lost", world.at(a))
    a.running.effects()
    for other in (b, c):
        a.running.link_up(other.running.context.own, world.at(a))
    assert asked(world, "a") == {"b"}


def test_only_holders_are_asked_what_they_hold(world: World) -> None:
    a = world.nodes["a"]
    a.running.locator.locate(1, key(2), world.now_s + 1)
    assert asked(world, "a") == {"c"}


def test_a_snapshot_contains_only_what_the_joiner_keeps(world: World) -> None:
    for number in range(6):
        world.write("a", key(number), create=True)
    a, b, c = (world.nodes[name] for name in "abc")
    a.running.effects()
    for joiner in (b, c):
        a.running.snapshots.on_request(joiner.replica.node, m.SnapshotRequest(""))
    pages = {
        to: {session for session, _ in said.sessions}
        for to, said in sent(world, a)
        if isinstance(said, m.SnapshotPageMessage)
    }
    assert pages == {"b": {key(n) for n in (1, 3, 5)}, "c": {key(n) for n in (0, 2, 4)}}


def test_anti_entropy_wants_only_what_we_hold(world: World) -> None:
    a, b = world.nodes["a"], world.nodes["b"]
    entries = tuple(Entry(key(n), {b"x" * 8: 1}, FAR_MS) for n in range(4))
    b.running.anti_entropy.on_listing(
        a.replica.node, m.Listing((1,), entries, False), world.at(b)
    )
    (request,) = [said for _, said in sent(world, b) if isinstance(said, m.SessionsRequest)]
    assert set(request.keys) == {key(1), key(3)}


def test_changes_go_to_holders_and_the_streams_of_the_others_go_on(world: World) -> None:
    for number in range(4):
        world.write("a", key(number), create=True, user="ann")
    world.run(3)
    held = {
        name: [n for n in range(4) if world.values(name, key(n))] for name in world.nodes
    }
    assert held == {"a": [0, 1, 2, 3], "b": [1, 3], "c": [0, 2]}
    a = world.nodes["a"]
    for name in "bc":
        cursor = world.nodes[name].running.context.cursor(a.replica.node)
        assert cursor.floor == a.replica.head()


def test_what_not_everybody_keeps_does_not_go_by_multicast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clustersession.node.context.holders", first_and_second_or_last)
    world = formed("abcd", carrier="multicast")
    world.run(2)
    world.write("a", key(1), create=True, user="ann")
    world.run(3)
    assert {name for name in world.nodes if world.values(name, key(1))} == {"a", "b"}


def test_only_the_word_of_a_holder_confirms(world: World) -> None:
    world.make_deaf("b", "a")
    head = world.write("a", key(1), create=True)
    token = world.confirm("a", head)
    world.run(0.5)
    assert world.answer("a", token) is None, "c has confirmed, and keeps no copy"
    world.heal()
    world.run_until(lambda: world.answer("a", token) == 1)


def test_a_holder_is_asked_first(world: World) -> None:
    a = world.nodes["a"]
    for number, holder in ((2, "c"), (1, "b"), (4, "c"), (3, "b")):
        head = world.nodes["a"].replica.head() + 1
        a.running.confirm(number, head, all_peers=False, deadline_s=world.now_s + 5)
        world.write("a", key(number), create=True)
        world.run(0.004)
        assert world.answer("a", number) == 1, holder


def test_who_keeps_no_copy_does_not_lag_behind_with_it(world: World) -> None:
    a, b, c = (world.nodes[name] for name in "abc")
    for name in "bc":
        world.make_deaf(name, "a")
    a.running.confirm(1, a.replica.head() + 1, all_peers=False, deadline_s=world.now_s + 0.5)
    world.write("a", key(1), create=True)
    world.run(0.6)
    assert world.answer("a", 1) == -1
    peers = a.running.context.peers
    assert peers[b.replica.node].progress.lagging
    assert not peers[c.replica.node].progress.lagging


def test_all_who_confirm_are_the_holders(world: World) -> None:
    world.make_deaf("c", "a")
    a = world.nodes["a"]
    a.running.confirm(1, a.replica.head() + 1, all_peers=True, deadline_s=world.now_s + 5)
    world.write("a", key(1), create=True)
    world.run(0.1)
    assert world.answer("a", 1) == 1
