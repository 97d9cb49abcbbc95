"""Feeds come in: gaps, incomplete sessions, clocks that are wrong, and what is confirmed."""

from typing import Any

import pytest

from clustersession.core.errors import ReplicaFull
from clustersession.core.feed import Batch
from clustersession.core.membership import MemberAdded, MemberSuspected
from clustersession.node import news
from clustersession.replica.opening import open_memory
from tests.node.world import World, formed, key


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


def test_a_write_is_not_confirmed_by_a_peer_that_lacks_the_session() -> None:
    world = formed("abc", carrier="tcp")
    world.make_deaf("a", "c")
    world.write("a", key(1), create=True, user="ann")
    world.run(0.05)
    world.kill("a")
    world.run(0.02)
    token = world.confirm("b", world.write("b", key(1), cart="1"))
    world.run_until(lambda: world.answer("b", token) == 1)
    world.kill("b")
    assert world.values("c", key(1)) == {"user": "ann", "cart": "1"}


def test_a_full_disk_costs_no_link_and_is_caught_up_later(monkeypatch: pytest.MonkeyPatch) -> None:
    world = formed("ab", carrier="tcp")
    replica = world.nodes["b"].replica
    calls = []

    def full(batch: Batch, wall_ms: int, *, whole: bool) -> object:
        calls.append(batch)
        raise ReplicaFull("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(replica, "apply", full)
        world.write("a", key(1), create=True, n="1")
        world.run(5)
    # Once when it comes, once more at each heartbeat, and when the stream has stalled.
    assert 1 <= len(calls) < 16
    assert len({id(batch) for batch in calls}) < 6, "it is kept, and not sent each time"
    assert not world.nodes["a"].seen(MemberSuspected)
    assert not world.nodes["b"].seen(MemberSuspected)
    world.run(0.6)
    assert world.values("b", key(1)) == {"n": "1"}


def test_a_full_disk_does_not_make_peers_send_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = formed("ab", carrier="tcp")
    replica = world.nodes["b"].replica
    calls = []

    def full(batch: Batch, wall_ms: int, *, whole: bool) -> object:
        calls.append(batch)
        raise ReplicaFull("no space left")

    asked_before = len(world.nodes["b"].seen(news.GapFound))
    with monkeypatch.context() as patch:
        patch.setattr(replica, "apply", full)
        for number in range(100):
            world.write("a", key(number), create=True, n="1")
            world.run(0.1)
    assert calls
    # In ten seconds, as often as a stream counts as stalled.
    assert len(world.nodes["b"].seen(news.GapFound)) <= asked_before + 6
    world.run(1)
    assert all(world.values("b", key(number)) == {"n": "1"} for number in range(100))


def test_a_node_that_is_still_loading_confirms_what_it_receives() -> None:
    world = formed("ab")
    for number in range(50):
        world.write("a", key(number), create=True, n=str(number))
    world.run(0.1)
    world.kill("b")
    world.wipe("b")
    world.run(1)
    world.start("b")
    world.run_until(lambda: len(world.nodes["a"].seen(MemberAdded)) == 2)
    world.run(0.01)
    assert world.nodes["b"].phase() == "JOINING"
    token = world.confirm("a", world.write("a", key(7), cart="tea"))
    assert world.answer("a", token) is None
    world.run(0.02)
    assert world.answer("a", token) == 1
    assert world.values("b", key(7)) == {"n": "7", "cart": "tea"}
    world.run(3)
    assert world.nodes["b"].replica.digests() == world.nodes["a"].replica.digests()
    assert not world.nodes["b"].seen(news.Repaired)


def test_what_a_loading_node_was_sent_before_is_not_taken_as_confirmed() -> None:
    world = formed("abc")
    world.kill("b")
    world.kill("c")
    world.run(1)
    for number in range(300):
        head = world.write("a", key(number), create=True, pad="x" * 5000)
    world.wipe("b")
    world.start("b")
    world.run_until(lambda: world.nodes["b"].seen(news.SnapshotLoading))
    peer = world.nodes["a"].running.context.peers[world.nodes["b"].replica.node]
    assert peer.progress.cursor is not None
    assert not peer.progress.holds(head)
    world.run(2)
    assert peer.progress.holds(head)


def test_a_copy_that_met_a_full_disk_is_not_taken_for_one_that_nobody_has() -> None:
    world = formed("ab", carrier="tcp", repair_interval_s=3600.0)
    a, b = world.nodes["a"], world.nodes["b"]
    world.write("a", key(1), create=True, user="ann")
    world.write("a", key(2), create=True)
    world.run(0.1)
    assert b.replica.sweep(world.at(b).wall_ms + 10**12, 10) == 2
    merge, refused = b.replica.merge, []

    def full_at_first(sessions: Any, wall_ms: int) -> int:
        if not refused:
            refused.append(sessions)
            raise ReplicaFull("no space left")
        return merge(sessions, wall_ms)

    b.replica.merge = full_at_first  # type: ignore[method-assign]
    head = world.write("a", key(1), cart="1")
    world.run(0.02)
    assert refused
    # Anti-entropy fetches something else from the same peer, and that arrives.
    b.running.puller.pull(a.replica.node, [key(2)], world.at(b))
    world.feed_moved("b")
    for _ in range(100):
        world.run(0.05)
        held = world.values("b", key(1)) is not None
        assert held or b.replica.cursors()[a.replica.node].floor < head
    assert world.values("b", key(1)) == {"user": "ann", "cart": "1"}
