"""Sessions that are not here: the peers are asked, and nobody waits for those who are gone."""

from dataclasses import replace

from clustersession.core.identity import Phase
from clustersession.core.state import ENDED_INVALIDATED, Change, Creation, Ended
from clustersession.node.lookup import SMALL_COPY_BYTES_MAX
from clustersession.wire import messages as m
from tests.node.world import LATENCY_S, World, formed, key


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


def large_world() -> World:
    """Nodes a, b and c hold a large session; d misses what they write from now on."""
    world = formed("abcd", carrier="multicast", fetch_timeout_s=30, repair_interval_s=3600)
    world.run(2)
    world.write("a", key(1), create=True, big="x" * 100_000)
    world.run(0.5)
    world.lose_datagram = lambda sender, receiver: receiver == "d"
    return world


def hold_a_missing_one(world: World, *names: str, data_bytes: int = 100_000) -> None:
    """These nodes hold a session, and no stream has brought it to the others."""
    replica = world.nodes[names[0]].replica
    wall_ms = world.at(world.nodes[names[0]]).wall_ms
    creation = Creation(wall_ms, wall_ms + 86_400_000, 1_800_000)
    replica.commit([Change(key(2), wall_ms, {"x": b"x" * data_bytes}, creation=creation)], wall_ms)
    state = replica.get(key(2))
    assert state is not None
    for name in names[1:]:
        world.nodes[name].replica.merge([(key(2), state)], wall_ms)


def test_one_peer_sends_a_large_copy_though_several_have_it() -> None:
    world = large_world()
    head = world.write("a", key(1), user="ann")
    world.run(0.01)
    world.sent_bytes.clear()
    token = world.fetch("d", key(1), a=head)
    world.run(0.02)
    assert world.answer("d", token) is True
    assert (world.values("d", key(1)) or {})["user"] == "ann"
    assert 100_000 < sum(world.sent_bytes[name] for name in "abc") < 110_000


def test_a_missing_large_session_comes_from_one_peer() -> None:
    world = large_world()
    hold_a_missing_one(world, "a", "b", "c")
    world.sent_bytes.clear()
    token = world.fetch("d", key(2))
    world.run(0.02)
    assert world.answer("d", token) is True
    assert 100_000 < sum(world.sent_bytes[name] for name in "abc") < 110_000


def test_a_small_missing_session_takes_one_round_trip() -> None:
    world = large_world()
    hold_a_missing_one(world, "b", "c", data_bytes=SMALL_COPY_BYTES_MAX - 600)
    token = world.fetch("d", key(2))
    world.run(2.5 * world.link_latency_s)
    assert world.answer("d", token) is True


def test_writes_that_nobody_has_cost_no_copy_and_are_given_up_at_once() -> None:
    world = large_world()
    world.sent_bytes.clear()
    token = world.fetch("d", key(1), a=10**9)
    world.run(0.02)
    assert world.answer("d", token) is False
    assert sum(world.sent_bytes[name] for name in "abc") < 1000


def test_what_has_expired_everywhere_costs_no_copy() -> None:
    world = large_world()
    for node in world.nodes.values():
        node.skew_ms += 3_600_000
    world.sent_bytes.clear()
    token = world.fetch("d", key(1))
    world.run(0.02)
    assert world.answer("d", token) is False
    assert sum(world.sent_bytes[name] for name in "abc") < 10_000


def test_an_older_copy_does_not_settle_it_while_another_peer_has_what_is_wanted() -> None:
    world = formed("abc", carrier="multicast", fetch_timeout_s=30, repair_interval_s=3600)
    world.run(2)
    world.lose_datagram = lambda sender, receiver: receiver == "c"
    world.write("a", key(1), create=True, user="ann")
    world.run(0.01)
    world.lose_datagram = lambda sender, receiver: True
    head = world.write("a", key(1), user="bob")
    world.deaf.add(("a", "c"))
    token = world.fetch("c", key(1), a=head)
    world.run(0.01)
    assert world.values("c", key(1)) == {"user": "ann"}
    assert world.answer("c", token) is None
    world.heal()
    world.reset("a", "c")
    world.run(1)
    assert world.answer("c", token) is True
    assert world.values("c", key(1)) == {"user": "bob"}


def test_when_the_peer_that_was_to_send_it_is_gone_another_one_does() -> None:
    world = large_world()
    hold_a_missing_one(world, "b", "c")
    token = world.fetch("d", key(2))
    world.run(2.5 * world.link_latency_s)
    (lookup,) = world.nodes["d"].running.lookup._lookups.values()
    (sender,) = (n.name for n in world.nodes.values() if n.replica.node == lookup.sender)
    world.kill(sender)
    world.run(0.02)
    assert world.answer("d", token) is True


def test_an_end_is_told_even_where_the_versions_are_the_same() -> None:
    world = large_world()
    hold_a_missing_one(world, "a", "d")
    replica = world.nodes["a"].replica
    state = replica.get(key(2))
    assert state is not None
    # As a revocation ends it.
    ended = replace(state, registers={}, ended=Ended(1, replica.node, "revoked"))
    replica.merge([(key(2), ended)], world.at(world.nodes["a"]).wall_ms)
    token = world.fetch("d", key(2), a=10**9)
    world.run(0.02)
    assert world.answer("d", token) is True
    held = world.nodes["d"].replica.get(key(2))
    assert held is not None
    assert held.ended is not None


def test_one_peer_that_is_as_far_as_we_are_does_not_settle_whether_a_session_has_ended() -> None:
    world = large_world()
    hold_a_missing_one(world, "a", "b", "c", "d", data_bytes=10)
    replica = world.nodes["c"].replica
    wall_ms = world.at(world.nodes["c"]).wall_ms
    replica.commit([Change(key(2), wall_ms, end=ENDED_INVALIDATED)], wall_ms)
    # The node that knows of the end is the last to answer.
    world.make_deaf("d", "c")
    token = world.fetch("d", key(2))
    world.run(0.02)
    assert world.answer("d", token) is None
    world.heal()
    world.reset("c", "d")
    world.run(1)
    assert world.answer("d", token) is True
    held = world.nodes["d"].replica.get(key(2))
    assert held is not None
    assert held.ended is not None


def test_a_session_that_is_here_will_do_when_one_of_several_peers_does_not_answer() -> None:
    world = formed("abcd", carrier="multicast", fetch_timeout_s=1, repair_interval_s=3600)
    hold_a_missing_one(world, "a", "d", data_bytes=10)
    world.make_deaf("d", "c")
    token = world.fetch("d", key(2))
    world.run(0.5)
    assert world.answer("d", token) is None
    world.run(0.6)
    assert world.answer("d", token) is True, "it was not asked in vain"
    token = world.fetch("d", key(2))
    world.run(0.01)
    world.kill("c")
    world.run(1.1)
    assert world.answer("d", token) is True, "it was not asked in vain"
    for name in "ab":
        world.make_deaf("d", name)
    token = world.fetch("d", key(2))
    world.run(1.1)
    assert world.answer("d", token) is False


def test_what_is_wanted_later_is_asked_for_when_the_peers_have_answered_what_was_asked() -> None:
    world = formed("ab", carrier="multicast", fetch_timeout_s=30, repair_interval_s=3600)
    world.run(2)
    world.lose_datagram = lambda sender, receiver: True
    first = world.write("a", key(1), create=True, user="ann")
    earlier = world.fetch("b", key(1), a=first)
    world.run(1.5 * LATENCY_S)
    second = world.write("a", key(1), user="bob")
    later = world.fetch("b", key(1), a=second)
    world.run(3 * LATENCY_S)
    assert world.answer("b", earlier) is True
    assert world.answer("b", later) is True
    assert world.values("b", key(1)) == {"user": "bob"}


def test_what_began_after_a_question_was_asked_is_found_by_who_asks_then() -> None:
    world = formed("ab", carrier="multicast", fetch_timeout_s=30, repair_interval_s=3600)
    world.run(2)
    world.lose_datagram = lambda sender, receiver: True
    earlier = world.fetch("b", key(1))
    world.run(1.5 * LATENCY_S)
    world.write("a", key(1), create=True, user="ann")
    later = world.fetch("b", key(1))
    world.run(3 * LATENCY_S)
    assert world.answer("b", later) is True
    assert world.answer("b", earlier) is True
