"""Who confirms a write, and when nobody is waited for."""

from typing import Any

from clustersession.core.errors import ReplicaFull
from clustersession.core.membership import MemberAdded
from clustersession.node import news
from tests.node.test_engine import formed, key
from tests.node.world import World


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
