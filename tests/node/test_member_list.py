"""Who is on the list, and that nobody is sent anything before the list with him is on the disk."""

from clustersession.node.journal_port import JournalPast
from tests.node.journals import JournalWorld, formed_with_journals
from tests.node.world import key


def test_members_are_listed_and_go_when_they_leave_or_are_dropped() -> None:
    world = formed_with_journals("abc")
    assert world.journals["a"].members() == {"b", "c"}
    node = world.nodes["b"]
    node.running.leave(world.at(node))
    world._pump(node)
    world.run(0.1)
    assert world.journals["a"].members() == {"c"}
    world.kill("c")
    world.run(10.0)
    assert world.journals["a"].members() == set()


def test_a_member_is_sent_nothing_before_the_list_with_it_is_on_the_disk() -> None:
    world = JournalWorld(ack_timeout_s=5.0)
    world.start("a")
    world.run_until(lambda: world.nodes["a"].phase() == "READY")
    world.write("a", key(1), create=True, x="1")
    world.journals["a"].stuck = True
    sent = world.sent_bytes["a"]
    world.start("b")
    world.run(2.0)
    assert world.sent_bytes["a"] == sent
    assert world.values("b", key(1)) is None
    world.synced("a")
    world.run_until(lambda: world.values("b", key(1)) is not None)


def test_a_list_on_the_disk_needs_no_other_sync() -> None:
    world = formed_with_journals()
    world.journals["a"].past = JournalPast(
        world.nodes["a"].replica.node, (), {world.nodes["b"].replica.node: "b"}
    )
    world.kill("a")
    world.run(0.1)
    world.journals["a"].stuck = True
    sent = world.sent_bytes["a"]
    world.start("a")
    world.run(0.5)
    assert world.sent_bytes["a"] > sent


def test_who_is_not_seen_in_a_life_counts_as_dropped() -> None:
    world = JournalWorld()
    world.journals["a"].past = JournalPast(
        world.nodes["a"].replica.node, (), {b"somebody": "gone"}
    )
    world.start("a")
    world.run(1.0)
    assert world.journals["a"].members() == {"gone"}
    world.run(5.0)
    assert world.journals["a"].members() == set()


def test_a_disk_that_is_stuck_does_not_keep_a_member_out_for_ever() -> None:
    world = JournalWorld(ack_timeout_s=1.0)
    world.start("a")
    world.journals["a"].stuck = True
    world.start("b")
    world.run_until(lambda: world.nodes["b"].phase() == "READY")
