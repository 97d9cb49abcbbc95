"""Who is asked to confirm a write, who confirms late, and what a slow one costs."""


import pytest

from clustersession.core.feed import Batch, Cursor
from clustersession.core.progress import PeerProgress
from clustersession.node import effects, news
from clustersession.node.confirmations import NOT_CONFIRMED, PATIENCE_S
from clustersession.replica.opening import open_memory
from clustersession.wire import messages as m
from tests.node.world import World, formed, key, watch


def settled(carrier: str, names: str = "abcd") -> World:
    world = formed(names, carrier=carrier)
    world.run(2)
    world.write("a", key(1), create=True, n="0")
    world.run(2)
    return world


@pytest.mark.parametrize(("carrier", "most"), [("multicast", 0), ("tcp", 12)])
def test_nobody_confirms_at_once_what_nobody_waits_for(carrier: str, most: int) -> None:
    world = settled(carrier)
    confirmations = watch(world, "a", m.Progress)
    for number in range(30):
        head = world.write("a", key(1), n=str(number))
        world.run(0.01)
    assert sum(confirmations.values()) <= most
    world.run(0.6)
    peers = world.nodes["a"].running.context.peers.values()
    assert all(peer.progress.holds(head) for peer in peers)
    assert world.nodes["a"].running.sender.is_held()


@pytest.mark.parametrize("carrier", ["multicast", "tcp"])
def test_one_peer_confirms_what_one_must_hold(carrier: str) -> None:
    world = settled(carrier)
    confirmations = watch(world, "a", m.Progress)
    for number in range(10):
        token = world.confirm("a", world.nodes["a"].replica.head() + 1)
        world.write("a", key(1), n=str(number))
        world.run(0.004)
        assert world.answer("a", token) == 1
    assert confirmations.pop("b") == 10
    assert all(count <= 1 for count in confirmations.values()), "as the window fills"


@pytest.mark.parametrize("carrier", ["multicast", "tcp"])
def test_everybody_confirms_what_all_must_hold(carrier: str) -> None:
    world = settled(carrier)
    confirmations = watch(world, "a", m.Progress)
    token = world.confirm("a", world.nodes["a"].replica.head() + 1, all_peers=True)
    world.write("a", key(1), n="1")
    world.run(0.004)
    assert world.answer("a", token) == 3
    assert dict(confirmations) == {"b": 1, "c": 1, "d": 1}


@pytest.mark.parametrize("carrier", ["multicast", "tcp"])
def test_a_wait_that_begins_after_the_write_has_left_is_answered_as_fast(carrier: str) -> None:
    world = settled(carrier)
    head = world.write("a", key(1), n="1")
    world.run(0.01)
    token = world.confirm("a", head)
    world.run(0.003)
    assert world.answer("a", token) == 1


@pytest.mark.parametrize("carrier", ["multicast", "tcp"])
def test_the_others_are_asked_when_the_one_asked_is_slow(carrier: str) -> None:
    world = settled(carrier)
    world.make_deaf("a", "b")
    token = world.confirm("a", world.nodes["a"].replica.head() + 1)
    world.write("a", key(1), n="1")
    world.run(PATIENCE_S)
    assert world.answer("a", token) is None
    world.run(0.004)
    assert world.answer("a", token)
    confirmations = watch(world, "a", m.Progress)
    token = world.confirm("a", world.nodes["a"].replica.head() + 1)
    world.write("a", key(1), n="2")
    world.run(0.004)
    assert world.answer("a", token) == 1, "the next one is asked from then on"
    assert dict(confirmations) == {"c": 1}


def test_a_datagram_lost_on_its_way_to_the_one_asked_costs_little() -> None:
    world = settled("multicast")
    world.lose_datagram = lambda sender, receiver: receiver == "b"
    token = world.confirm("a", world.nodes["a"].replica.head() + 1)
    world.write("a", key(1), n="1")
    world.run(PATIENCE_S + 0.004)
    assert world.answer("a", token)


def test_a_peer_that_knows_nothing_of_confirmers_is_answered_at_once() -> None:
    world = settled("multicast", "ab")
    a, b = world.nodes["a"], world.nodes["b"]
    confirmations = watch(world, "a", m.Progress)
    wall_ms = world.at(a).wall_ms
    floor = a.replica.head()
    a.replica.commit([], wall_ms)
    batch = Batch(a.replica.node, floor, floor, floor + 1, floor + 1, ())
    old = m.encode_message(m.Changes(batch, confirm=False))[:-1]
    old = bytes([old[0] - 1]) + old[1:]
    assert getattr(m.decode_message(old), "confirmers", ()) is None
    b.running.receive(a.replica.node, old, world.at(b), reliable=False)
    world._pump(b)
    world.run(0.004)
    assert dict(confirmations) == {"b": 1}


def test_where_heartbeats_are_too_long_for_cursors_a_message_confirms() -> None:
    world = settled("multicast")
    head = world.write("a", key(1), n="1")
    world.nodes["b"].running.heartbeat._for_group = (  # type: ignore[method-assign]
        lambda at: _brief(world.nodes["b"].running, at)
    )
    world.run(0.6)
    progress = world.nodes["a"].running.context.peers[world.nodes["b"].replica.node].progress
    assert progress.holds(head)


def _brief(engine: object, at: object) -> bytes:
    heartbeat = engine.heartbeat  # type: ignore[attr-defined]
    heartbeat.brief = True
    return m.encode_message(heartbeat.message(at, brief=True))


def test_a_late_datagram_of_a_loading_peer_confirms_nothing() -> None:
    world = settled("multicast", "ab")
    a, b = world.nodes["a"], world.nodes["b"]
    peer = a.running.context.peers[b.replica.node]
    confirmed = peer.progress.confirmed
    head = world.write("a", key(1), n="1")
    own = b.running.context.own
    claim = {a.replica.node: confirmed._replace(floor=head, position=head)}
    late = m.Heartbeat(own, 1, m.Phase.JOINING, True, world.at(b).wall_ms, 0, 0, claim, (
        a.replica.node,), (), (), False)
    a.running.receive(b.replica.node, m.encode_message(late), world.at(a), reliable=False)
    assert not peer.progress.holds(head)


def test_a_loading_peer_confirms_nothing_before_it_says_where_it_begins() -> None:
    world = settled("tcp", "ab")
    a, b = world.nodes["a"], world.nodes["b"]
    peer = a.running.context.peers[b.replica.node]
    head = world.write("a", key(1), n="1")
    # Its link is new, and its first word on it comes before where its stream begins.
    peer.progress = PeerProgress()
    claim = {a.replica.node: Cursor(head, head)}
    first = m.Heartbeat(b.running.context.own, 1, m.Phase.JOINING, True, world.at(b).wall_ms, 0, 0,
                        claim, (a.replica.node,), (), (), False)
    a.running.receive(b.replica.node, m.encode_message(first), world.at(a), reliable=True)
    assert not peer.progress.holds(head)


def test_the_lag_told_does_not_count_what_no_heartbeat_was_due_for() -> None:
    world = settled("multicast", "ab")
    a, b = world.nodes["a"], world.nodes["b"]
    peer = a.running.context.peers[b.replica.node]
    for number in range(200):
        world.write("a", key(1), n=str(number))
        world.run(0.01)
        assert a.running.sender.behind(peer) == 0
    world.partition("a", "b")
    for number in range(10):
        world.write("a", key(1), n=str(number))
    world.run(1.2)
    assert a.running.sender.behind(peer) >= 10


@pytest.mark.parametrize("carrier", ["multicast", "tcp"])
def test_while_a_node_drains_everybody_confirms_everything_at_once(carrier: str) -> None:
    world = settled(carrier)
    a = world.nodes["a"]
    peers = a.running.context.peers.values()
    world.write("a", key(1), n="1")
    world.run(0.004)
    a.running.drain(world.at(a))
    assert all(a.running.sender.behind(peer) == 1 for peer in peers)
    world._pump(a)
    for number in range(10):
        world.run(0.004)
        assert not any(a.running.sender.behind(peer) for peer in peers)
        world.write("a", key(1), n=str(number))


@pytest.mark.parametrize("carrier", ["multicast", "tcp"])
@pytest.mark.parametrize("gap_ms", [1, 3, 4, 6])
def test_waits_that_begin_late_are_answered_as_fast_one_after_the_other(
    carrier: str, gap_ms: int
) -> None:
    world = settled(carrier)
    began_s: dict[int, float] = {}
    took_s: dict[int, float] = {}
    for number in range(100):
        # Another worker's write has sent this one off before its own worker waits.
        began_s[world.confirm("a", world.write("a", key(1), n=str(number)))] = world.now_s
        for _ in range(2 * gap_ms):
            world.run(0.0005)
            for token, since_s in began_s.items():
                if token not in took_s and world.answer("a", token) is not None:
                    took_s[token] = world.now_s - since_s
    assert len(took_s) >= 95
    assert max(took_s.values()) < 0.004


@pytest.mark.parametrize("latency_s", [0.001, 0.005, 0.02])
def test_a_datagram_about_a_past_that_we_have_lost_confirms_nothing(latency_s: float) -> None:
    world = settled("multicast", "ab")
    a, b = world.nodes["a"], world.nodes["b"]
    for number in range(10):
        world.write("a", key(1), n=str(number))
    world.run(2)
    head, node = a.replica.head(), a.replica.node
    world.kill("a")
    world.run(0.05)
    a.replica = open_memory(node, clock_skew_ms_max=300_000)
    a.replica.save_note("loaded", b"x")
    a.replica.note_opening()
    for number in range(head):
        world.write("a", key(50 + number), create=True, n="new")
    world.start("a")
    a.events.clear()
    world.link_latency_s = latency_s
    world.run_until(lambda: b.replica.node in a.running.context.peers)
    token = world.confirm("a", head)
    world.run_until(lambda: a.seen(news.PastLost) or world.answer("a", token) is not None)
    assert a.seen(news.PastLost)
    assert world.answer("a", token) is not True


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


def test_a_broken_link_is_not_taken_for_an_empty_cluster() -> None:
    world = formed("ab")
    world.run(1)
    head = world.write("a", key(1), create=True, user="ann")
    world.reset("a", "b")
    token = world.confirm("a", head)
    world.run(0.0012)
    assert world.answer("a", token) is None
    world.run(0.5)
    assert world.answer("a", token) == 1
    assert world.values("b", key(1)) == {"user": "ann"}


def test_who_waits_in_vain_is_told_so() -> None:
    world = formed("ab")
    world.partition("a", "b")
    world.nodes["a"].running.confirm(77, 10**6, all_peers=False, deadline_s=world.now_s + 0.2)
    world.feed_moved("a")
    world.run(0.3)
    (answer,) = [e for e in world.nodes["a"].seen(effects.Confirmed) if e.token == 77]
    assert answer.confirmations == NOT_CONFIRMED


def test_a_full_house_of_waiters_is_no_confirmation() -> None:
    world = formed("ab")
    engine = world.nodes["a"].running
    for token in range(10_001):
        engine.confirm(token, 10**6, all_peers=False, deadline_s=world.now_s + 60)
    world.feed_moved("a")
    (answer,) = world.nodes["a"].seen(effects.Confirmed)
    assert answer.confirmations == NOT_CONFIRMED


def test_a_stuck_peer_costs_one_timeout_and_is_waited_for_again_when_it_moves() -> None:
    world = formed("ab")
    world.partition("a", "b")
    first = world.confirm("a", world.write("a", key(1), create=True, n="1"))
    world.run(1)
    second = world.confirm("a", world.write("a", key(1), n="2"))
    assert world.answer("a", second) is None
    world.nodes["a"].running.confirmations.expire(world.at(world.nodes["a"])._replace(now_s=1e9))
    third = world.confirm("a", world.write("a", key(1), n="3"))
    assert world.answer("a", third) == -1
    assert world.answer("a", first) == -1
    world.heal()
    world.run(10)
    fourth = world.confirm("a", world.write("a", key(1), n="4"))
    world.run(0.1)
    assert world.answer("a", fourth) == 1
    assert world.values("b", key(1)) == {"n": "4"}


def test_all_means_all_that_are_connected() -> None:
    world = formed("abcd")
    world.kill("d")
    world.run(1)
    token = world.confirm("a", world.write("a", key(1), create=True, n="1"), all_peers=True)
    world.run(0.1)
    assert world.answer("a", token) == 2


def test_nodes_started_together_confirm_from_the_first_write() -> None:
    world = World("ab")
    world.start()
    world.run(0.05)
    token = world.confirm("a", world.write("a", key(1), create=True, n="1"))
    world.run(0.3)
    assert world.answer("a", token) == 1
    assert world.values("b", key(1)) == {"n": "1"}
