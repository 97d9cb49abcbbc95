"""Snapshots: loaded page by page, from another donor if need be, whatever is in them."""

from clustersession.core.errors import ReplicaFull
from clustersession.core.feed import Cursor
from clustersession.node import news
from tests.node.world import MIB, World, equal, formed, key


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


def test_a_session_larger_than_a_frame_does_not_stop_a_snapshot() -> None:
    world = formed("ab")
    for number in range(5):
        world.write("a", key(number), create=True, n=str(number))
    for part in range(3):
        world.write("a", key(2), **{f"part{part}": "x" * 6 * MIB})
    world.kill("b")
    world.run(1)
    world.wipe("b")
    world.start("b")
    world.run(4)
    assert world.nodes["b"].phase() == "READY"
    assert world.broken_by_size == 0
    assert world.values("b", key(4)) == {"n": "4"}


def test_a_snapshot_survives_any_number_of_former_members() -> None:
    world = formed("ab")
    world.write("a", key(1), create=True, n="1")
    former = {number.to_bytes(8, "big"): Cursor(5, 5) for number in range(600)}
    world.nodes["a"].replica.inherit(former)
    world.kill("b")
    world.run(1)
    world.wipe("b")
    world.start("b")
    world.run(4)
    assert not world.nodes["b"].seen(news.MessageDropped)
    assert world.nodes["b"].phase() == "READY"
    assert world.values("b", key(1)) == {"n": "1"}


def test_keys_of_another_length_do_not_stop_snapshots_and_repair() -> None:
    world = formed("ab")
    world.write("a", "short", create=True, n="1")
    world.write("a", key(1), create=True, n="1")
    world.kill("b")
    world.wipe("b")
    world.run(1)
    world.start("b")
    world.run(3)
    assert world.nodes["b"].phase() == "READY"
    assert not world.nodes["b"].seen(news.MessageDropped)
    assert world.values("b", key(1)) == {"n": "1"}


def loading_from_two(world: World, donor: str) -> None:
    """Start c empty and stop when it has begun to load from the donor."""
    world.kill("c")
    world.run(1)
    world.wipe("c")
    world.start("c")
    world.run_until(lambda: world.nodes["c"].seen(news.SnapshotLoading))
    assert world.nodes["c"].seen(news.SnapshotLoading)[0].donor == world.nodes[donor].replica.node


def test_half_a_snapshot_gives_no_cursors() -> None:
    world = World("ac", repair_interval_s=600)
    world.start()
    world.run_until(lambda: all(n.phase() == "READY" for n in world.nodes.values()))
    for number in range(300):
        world.write("a", key(number), create=True, n=str(number), pad="x" * 5000)
    world.run(1)
    loading_from_two(world, "a")
    world.kill("a")
    world.run_until(lambda: world.nodes["c"].phase() == "READY")
    world.start("a")
    world.run(5)
    assert world.nodes["c"].replica.stats().sessions == 300


def test_a_cursor_that_appears_late_in_a_snapshot_is_not_inherited() -> None:
    world = formed("ab", repair_interval_s=600)
    snapshots = world.nodes["b"].running.snapshots
    snapshots._pages, snapshots._inherited = 0, {}
    snapshots._lower({b"x" * 8: Cursor(3, 3)})
    snapshots._lower({b"x" * 8: Cursor(2, 2), b"y" * 8: Cursor(9, 9)})
    assert snapshots._inherited == {b"x" * 8: Cursor(2, 2)}


class DeafDonor:
    """A replica that gives no snapshots."""

    def __init__(self, replica: object) -> None:
        self._replica = replica

    def __getattr__(self, name: str) -> object:
        if name == "snapshot":
            raise ReplicaFull("no snapshots here")
        return getattr(self._replica, name)


def test_a_donor_that_never_answers_does_not_hold_up_a_node_for_ever() -> None:
    world = formed("ab", join_timeout_s=12)
    world.kill("b")
    world.run(1)
    world.nodes["a"].running.context.replica = DeafDonor(world.nodes["a"].replica)
    world.wipe("b")
    world.start("b")
    world.run(20)
    assert world.nodes["b"].phase() == "READY"


def test_a_donor_that_turns_in_circles_does_not_hold_up_a_node_for_ever() -> None:
    world = formed("ab", join_timeout_s=12)
    world.kill("b")
    world.run(1)

    class Circle(DeafDonor):
        def __getattr__(self, name: str) -> object:
            if name != "snapshot":
                return getattr(self._replica, name)
            return lambda after, size: type(self._replica.snapshot("", 1))(
                [], key(5), False, {}
            )

    world.nodes["a"].running.context.replica = Circle(world.nodes["a"].replica)
    world.wipe("b")
    world.start("b")
    world.run(20)
    assert len(world.nodes["b"].seen(news.SnapshotLoading)) < 10
    assert world.nodes["b"].phase() == "READY"
