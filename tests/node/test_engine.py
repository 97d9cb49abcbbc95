"""The engine over a virtual network: the reference scenario and its failures, as scripts."""

import pytest

from clustersession.core.detector import FailureDetector
from clustersession.core.identity import Address, Identity, Phase
from clustersession.core.membership import (
    MemberAdded,
    MemberLeft,
    MemberLost,
    Membership,
    RouteConflict,
)
from clustersession.core.state import Change, Creation, SessionState
from clustersession.node import effects, news
from clustersession.replica.opening import open_memory
from clustersession.wire import messages as m
from tests.node.world import World


def key(number: int) -> str:
    return f"1{number:022d}"


def formed(names: str = "ab", **settings: object) -> World:
    world = World(names, **settings)
    world.start()
    world.run_until(lambda: all(n.phase() == "READY" for n in world.nodes.values()))
    return world


def equal(world: World, *names: str) -> bool:
    replicas = [world.nodes[name].replica for name in names or tuple(world.nodes)]
    return len({replica.digests() for replica in replicas}) == 1


@pytest.mark.parametrize("names", ["ab", "abc", "abcdefgh"])
def test_nodes_find_each_other_by_multicast_and_become_ready(names: str) -> None:
    world = formed(names)
    for node in world.nodes.values():
        assert len(node.seen(MemberAdded)) == len(names) - 1
        assert not node.seen(MemberLost)
    assert world.now_s < 3


def test_nodes_that_start_together_do_not_set_each_other_off() -> None:
    world = World("abcd")
    world.start()
    world.run(0.5)
    assert world.datagrams < 4 * 15


def test_one_seed_is_enough_for_all_to_meet() -> None:
    world = World("abcd", multicast_address="", seeds=("10.0.0.1:4000",))
    world.start()
    for node in world.nodes.values():
        node.running.seeds(frozenset({world.nodes["a"].address}), world.at(node))
        world._pump(node)
    world.run_until(lambda: all(len(n.running.membership.present()) == 3
                                for n in world.nodes.values()))
    world.run_until(lambda: all(n.phase() == "READY" for n in world.nodes.values()))


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


@pytest.mark.parametrize("carrier", ["tcp", "multicast"])
def test_a_write_reaches_everybody_and_is_confirmed(carrier: str) -> None:
    world = formed("abc", carrier=carrier)
    head = world.write("a", key(1), create=True, user="ann")
    token = world.confirm("a", head, all_peers=True)
    world.run(0.1)
    assert world.answer("a", token) == 2
    assert world.values("b", key(1)) == world.values("c", key(1)) == {"user": "ann"}
    assert equal(world)


def test_a_write_with_nobody_there_is_answered_at_once() -> None:
    world = World("a")
    world.start()
    world.run(1.5)
    token = world.confirm("a", world.write("a", key(1), create=True, user="ann"))
    assert world.answer("a", token) == 0


def test_a_write_before_the_others_are_found_waits_for_them() -> None:
    world = formed("ab")
    world.kill("a")
    world.run(2)
    world.start("a")
    token = world.confirm("a", world.write("a", key(1), create=True, user="ann"))
    assert world.answer("a", token) is None
    world.run(0.3)
    assert world.answer("a", token) == 1
    assert world.values("b", key(1)) == {"user": "ann"}


def test_a_lost_datagram_is_a_gap_and_is_repaired() -> None:
    world = formed("abc", carrier="multicast")
    world.run(2)
    world.write("a", key(1), create=True, n="1")
    world.run(0.1)
    world.lose_datagram = lambda sender, receiver: receiver == "b"
    world.write("a", key(1), n="2")
    world.run(0.005)
    world.lose_datagram = lambda sender, receiver: False
    assert world.values("b", key(1)) == {"n": "1"}
    world.write("a", key(2), create=True, m="1")
    world.run(0.1)
    assert world.values("b", key(1)) == {"n": "2"}
    assert world.nodes["b"].seen(news.GapFound)


def test_datagrams_do_not_overtake_a_backlog_that_went_by_tcp() -> None:
    world = formed("ab", carrier="multicast")
    world.run(2)
    a, b = world.nodes["a"], world.nodes["b"]
    wall_ms = world.at(a).wall_ms
    creation = Creation(wall_ms, wall_ms + 86_400_000, 1_800_000)
    values = {"text": b"x" * 200}
    a.replica.commit([Change(key(n), wall_ms, values, creation=creation) for n in range(400)],
                     wall_ms)
    world.link_latency_s = 0.02
    world.feed_moved("a")
    for number in range(400, 410):
        world.write("a", key(number), create=True, n="1")
        world.run(0.001)
    world.run(0.2)
    assert not b.seen(news.GapFound)
    assert world.values("b", key(399))
    assert world.values("b", key(409))
    before = world.datagrams
    world.write("a", key(1), n="2")
    world.run(0.005)
    assert world.datagrams > before, "it did not go back to multicast"
    assert world.values("b", key(1)) == {"text": "x" * 200, "n": "2"}


def test_the_loss_of_the_last_datagram_is_found_by_the_heartbeat() -> None:
    world = formed("abc", carrier="multicast")
    world.run(2)
    world.lose_datagram = lambda sender, receiver: receiver == "b"
    world.write("a", key(1), create=True, n="1")
    world.run(0.005)
    world.lose_datagram = lambda sender, receiver: False
    world.run(1.2)
    assert world.values("b", key(1)) == {"n": "1"}


def test_a_multicast_write_costs_one_datagram_whatever_the_number_of_members() -> None:
    costs = []
    for names in ("abcd", "abcdefgh"):
        world = formed(names)
        world.run(2.03)
        before = world.datagrams
        world.write("a", key(1), create=True, n="1")
        world.run(0.005)
        costs.append(world.datagrams - before)
        assert world.values("d", key(1)) == {"n": "1"}
    assert costs == [1, 1]


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


def test_a_node_that_lost_its_disk_loads_a_snapshot() -> None:
    world = formed("abc")
    for number in range(300):
        world.write("abc"[number % 3], key(number), create=True, n=str(number), pad="x" * 5000)
    world.run(1)
    world.kill("c")
    world.run(1)
    world.wipe("c")
    world.start("c")
    world.run_until(lambda: world.nodes["c"].phase() == "READY")
    assert len(world.nodes["c"].seen(news.SnapshotLoading)) > 3
    assert world.nodes["c"].replica.stats().sessions == 300
    world.run(1)
    assert equal(world)
    assert world.nodes["a"].replica.stats().sessions == 300


def test_a_snapshot_goes_on_with_another_donor_when_the_first_dies() -> None:
    world = formed("abc")
    for number in range(300):
        world.write("ab"[number % 2], key(number), create=True, n=str(number), pad="x" * 5000)
    world.run(1)
    world.kill("c")
    world.run(1)
    world.wipe("c")
    world.start("c")
    world.run_until(lambda: world.nodes["c"].seen(news.SnapshotLoading))
    (first,) = {event.donor for event in world.nodes["c"].seen(news.SnapshotLoading)}
    donor = next(n for n in world.nodes.values() if n.replica.node == first)
    world.kill(donor.name)
    world.run_until(lambda: world.nodes["c"].phase() == "READY")
    world.run(7)
    assert world.nodes["c"].replica.stats().sessions == 300


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


def test_a_member_that_others_vouch_for_is_not_dropped() -> None:
    world = formed("abc")
    world.partition("a", "c")
    world.run(10)
    assert not world.nodes["a"].seen(MemberLost)
    world.heal()
    world.run(5)
    assert all(m.status == "alive" for m in world.nodes["a"].running.membership)


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


def test_a_dead_nodes_last_write_that_reached_one_survivor_reaches_all() -> None:
    world = formed("abc")
    world.partition("a", "c")
    world.run(0.2)
    world.write("a", key(1), create=True, user="ann")
    world.run(0.1)
    assert world.values("b", key(1)) == {"user": "ann"}
    assert world.values("c", key(1)) is None
    world.kill("a")
    world.heal()
    world.run(1.0)
    assert world.values("c", key(1)) == {"user": "ann"}
    assert world.nodes["c"].seen(news.Repaired)


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


def test_a_partial_delta_for_an_unknown_session_is_completed_first() -> None:
    world = formed("abc")
    world.write("a", key(1), create=True, user="ann")
    world.run(0.1)
    world.kill("c")
    world.wipe("c")
    world.run(0.1)
    world.write("b", key(1), cart="1")
    world.start("c")
    world.run_until(lambda: world.nodes["c"].phase() == "READY")
    assert world.values("c", key(1)) == {"user": "ann", "cart": "1"}


def test_a_node_with_a_clock_in_the_far_future_is_not_followed_until_it_is_right() -> None:
    world = formed("ab")
    world.nodes["a"].skew_ms = 3_600_000
    world.write("a", key(1), create=True, user="ann")
    world.run(3)
    assert world.values("b", key(1)) is None
    assert world.nodes["b"].seen(news.FutureRefused)
    assert world.nodes["b"].seen(news.ClockSkewed)


def test_stamps_passed_on_by_a_node_with_a_good_clock_are_not_held_against_it() -> None:
    world = World("abc")
    world.nodes["a"].skew_ms, world.nodes["c"].skew_ms = 298_000, -5_000
    for node in world.nodes.values():
        node.replica = open_memory(node.replica.node, clock_skew_ms_max=600_000)
    world.start()
    world.run(3)
    world.write("a", key(1), create=True, user="ann")
    world.run(0.1)
    assert world.values("b", key(1)) == {"user": "ann"}
    world.write("b", key(2), create=True, user="bob")
    world.run(0.1)
    assert world.values("c", key(2)) == {"user": "bob"}


@pytest.mark.parametrize("link_latency_s", [0.001, 0.1])
def test_a_loading_node_does_not_confirm_what_it_passes_over(link_latency_s: float) -> None:
    world = World("ab")
    world.start("a")
    world.run(3)
    world.nodes["a"].skew_ms = 3_600_000
    world.write("a", key(1), create=True, user="ann")
    world.nodes["a"].skew_ms = 0
    world.link_latency_s = link_latency_s
    world.start("b")
    world.run_until(lambda: world.nodes["a"].running.context.peers)
    token = world.confirm("a", world.write("a", key(2), create=True, user="bob"))
    world.run(6)
    assert world.nodes["b"].seen(news.FutureRefused)
    assert world.values("b", key(2)) is None
    assert world.answer("a", token) == -1


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


def test_two_nodes_with_one_route_are_reported() -> None:
    own = Identity(b"a" * 8, 1, "web", Address("10.0.0.1", 4000))
    other = Identity(b"b" * 8, 1, "web", Address("10.0.0.2", 4000))
    events = Membership(own, FailureDetector(0.5, 3.0)).linked(other, 0.0)
    assert RouteConflict("web", (own.address, other.address)) in events


def test_a_replica_older_than_what_peers_have_seen_is_noticed() -> None:
    world = formed("ab")
    world.write("a", key(1), create=True, user="ann")
    world.run(1)
    node = world.nodes["a"]
    world.kill("a")
    node.replica = open_memory(node.replica.node, clock_skew_ms_max=300_000)
    node.replica.save_note("loaded", b"1")
    world.start("a")
    world.run(2)
    assert node.seen(news.PastLost)


def test_multicast_that_is_not_even_heard_by_ourselves_is_reported_once() -> None:
    world = World("a")
    world.lose_datagram = lambda sender, receiver: True
    world.start()
    world.run(30)
    assert len(world.nodes["a"].seen(news.MulticastUnheard)) == 1


def test_no_multicast_between_two_that_are_connected_still_beats() -> None:
    world = formed("ab")
    world.lose_datagram = lambda sender, receiver: sender != receiver
    world.run(30)
    assert not world.nodes["a"].seen(MemberLost)
    world.write("a", key(1), create=True, user="ann")
    world.run(0.1)
    assert world.values("b", key(1)) == {"user": "ann"}


def test_former_seeds_are_forgotten_after_an_hour() -> None:
    """Where names change all day, addresses of the past must not fill the table for ever."""
    world = formed("a", multicast_address="")
    node = world.nodes["a"]
    gone = frozenset({Address("10.9.0.1", 4000)})
    node.running.seeds(gone, world.at(node))
    world.run(60.0)
    assert world.dials > 5
    node.running.seeds(frozenset(), world.at(node))
    world.run(3700.0)
    dials = world.dials
    world.run(600.0)
    assert world.dials == dials
    # A seed for ever, though.
    node.running.seeds(gone, world.at(node))
    world.run(8000.0)
    dials = world.dials
    world.run(60.0)
    assert world.dials > dials


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
