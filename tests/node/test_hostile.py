"""Interleavings and inputs chosen to hurt: each of these once lost data, hung or flapped."""

import pytest

from clustersession.core.errors import ReplicaFull
from clustersession.core.feed import Batch, Cursor
from clustersession.core.identity import Address, Phase
from clustersession.core.membership import MemberAdded, MemberLeft, MemberLost, MemberSuspected
from clustersession.core.state import Delta, Register, SessionState
from clustersession.node import effects, news
from clustersession.node.confirmations import NOT_CONFIRMED
from clustersession.replica.opening import open_memory
from clustersession.wire import messages as m
from clustersession.wire.fields import Entry
from tests.node.test_engine import equal, formed, key
from tests.node.world import World

MIB = 2**20


def foreign(number: int, size: int, node: bytes = b"elsewher") -> tuple[str, SessionState]:
    """A session that a node unknown to everybody wrote."""
    registers = {"pad": Register(1 << 50, node, number + 1, b"x" * size)}
    return key(number), SessionState(
        1_800_000_000_000, 1_800_000_000_000, 1_900_000_000_000, registers, {node: number + 1}
    )


def hand_over(world: World, name: str, sender: str, message: m.Message) -> None:
    """Give one node a message of another, as its link would."""
    node = world.nodes[name]
    node.running.receive(
        world.nodes[sender].replica.node, m.encode_message(message), world.at(node), reliable=True
    )
    world._pump(node)


# ---- sizes ---------------------------------------------------------------------------------------


def test_many_large_sessions_do_not_break_the_link_of_a_peer_that_catches_up() -> None:
    world = formed("ab")
    world.kill("b")
    world.run(1)
    for number in range(20):
        world.write("a", key(number), create=True, pad="x" * 4 * MIB)
    world.start("b")
    world.run(5)
    assert world.broken_by_size == 0
    assert equal(world)


def test_many_large_sessions_are_repaired_without_breaking_the_link() -> None:
    world = formed("ab")
    for number in range(20):
        replica, wall_ms = world.nodes["a"].replica, world.at(world.nodes["a"]).wall_ms
        replica.merge([foreign(number, 4 * MIB)], wall_ms)
    world.run(12)
    assert world.broken_by_size == 0
    assert equal(world)


def test_a_session_larger_than_a_frame_holds_up_nobody_else() -> None:
    world = formed("ab")
    world.write("a", key(1), create=True, n="1")
    for part in range(3):
        world.write("a", key(1), **{f"part{part}": "x" * 6 * MIB})
    world.kill("b")
    world.run(1)
    world.write("a", key(2), create=True, n="2")
    world.start("b")
    world.run(3)
    assert world.values("b", key(2)) == {"n": "2"}
    token = world.fetch("b", key(1))
    world.run(8)
    assert world.answer("b", token) is not None
    assert world.broken_by_size == 0
    assert world.nodes["a"].seen(news.TooLarge)


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


def test_a_listing_covers_every_bucket_in_turn() -> None:
    world = formed("ab")
    repairer = world.nodes["a"].running.anti_entropy
    listed = repairer._listing([1000, 0, 1], answer=True)
    assert listed.buckets == (1000, 0, 1)


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


# ---- acknowledgements ----------------------------------------------------------------------------


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


def test_a_missing_copy_is_asked_for_again_when_the_link_breaks_meanwhile() -> None:
    world = formed("abc", carrier="tcp", repair_interval_s=60)
    world.make_deaf("a", "c")
    world.write("a", key(1), create=True, user="ann")
    world.run(0.05)
    world.write("b", key(1), cart="1")
    world.run(0.0015)
    world.reset("b", "c")
    world.run(0.5)
    assert world.values("c", key(1)) == {"user": "ann", "cart": "1"}


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


# ---- replicas in trouble -------------------------------------------------------------------------


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


def test_a_past_lost_is_noticed_even_when_new_writes_have_passed_it() -> None:
    world = formed("ab")
    for number in range(5):
        world.write("a", key(number), create=True, n="1")
    world.run(1)
    node = world.nodes["a"]
    world.kill("a")
    node.replica = open_memory(node.replica.node, clock_skew_ms_max=300_000)
    node.replica.save_note("loaded", b"1")
    hand_over_cursor = m.Progress(Cursor(5, 5), resume=True, provisional=False)
    world.start("a")
    world.run(0.5)
    node.events.clear()
    hand_over(world, "a", "b", hand_over_cursor)
    assert node.seen(news.PastLost)


# ---- joining -------------------------------------------------------------------------------------


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


def test_draining_a_joining_node_still_lets_it_load() -> None:
    world = formed("ab")
    world.write("a", key(1), create=True, n="1")
    world.kill("b")
    world.wipe("b")
    world.run(1)
    world.start("b")
    node = world.nodes["b"]
    node.running.drain(world.at(node))
    world._pump(node)
    world.run(3)
    assert node.phase() == "DRAINING"
    assert world.values("b", key(1)) == {"n": "1"}


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


# ---- members and links ---------------------------------------------------------------------------


def test_a_member_that_reconnects_before_its_dead_link_is_gone_is_alive_again() -> None:
    world = formed("ab")
    a, b = world.nodes["a"], world.nodes["b"]
    a.running._member_events.tell([a.running.membership._bury(
        a.running.membership.get(b.replica.node), "for this test", world.now_s
    )], world.at(a))
    a.running.effects()  # the link is told to close, and takes its time
    a.running.link_up(b.running.context.own, world.at(a))
    world._pump(a)
    world.run(1)
    assert [x.identity.route for x in a.running.membership.present()] == ["b"]


def test_another_link_with_a_peer_brings_both_streams_up_again() -> None:
    world = formed("ab", carrier="tcp")
    a, b = world.nodes["a"], world.nodes["b"]
    world.write("a", key(1), create=True, n="1")
    world.run(0.05)
    # What a sends next is lost on a link that nobody knows to be broken.
    world.link_latency_s = 1e9
    world.write("a", key(1), n="2")
    world.link_latency_s = 0.001
    b.running.link_up(a.running.context.own, world.at(b))
    world._pump(b)
    world.run(0.05)
    assert world.values("b", key(1)) == {"n": "2"}


def test_a_goodbye_that_overtakes_the_last_writes_does_not_lose_them() -> None:
    world = formed("ab", carrier="tcp")
    node = world.nodes["a"]
    world.link_latency_s = 0.02
    world.write("a", key(1), create=True, n="1")
    node.running.leave(world.at(node))
    world._pump(node)
    world.run(0.1)
    assert world.values("b", key(1)) == {"n": "1"}
    assert world.nodes["b"].seen(MemberLeft)


def test_a_seed_under_another_address_is_dialled_once() -> None:
    world = World("ab", multicast_address="", seeds=("192.0.2.7:4000",))
    alias = Address("192.0.2.7", 4000)
    world.aliases[alias] = "b"
    world.start()
    node = world.nodes["a"]
    for _ in range(10):
        node.running.seeds(frozenset({alias}), world.at(node))
        world._pump(node)
        world.run(1)
    assert world.dials < 6
    world.kill("b")
    world.run(1)
    world.start("b")
    world.run_until(lambda: node.running.membership.present())


def test_two_connected_members_at_one_address_do_not_expel_each_other() -> None:
    world = World("abc", multicast_address="")
    world.aliases[Address("192.0.2.8", 4000)] = "b"
    world.aliases[Address("192.0.2.9", 4000)] = "c"
    world.nodes["b"].address = world.nodes["c"].address = Address("172.17.0.2", 4000)
    world.start()
    node = world.nodes["a"]
    seeds = frozenset({Address("192.0.2.8", 4000), Address("192.0.2.9", 4000)})
    for _ in range(10):
        node.running.seeds(seeds, world.at(node))
        world._pump(node)
        world.run(1)
    assert not node.seen(MemberLost)
    assert len(node.seen(MemberAdded)) == 2


def test_the_gossip_of_impossible_addresses_is_refused() -> None:
    world = formed("ab")
    beat = m.Heartbeat(
        identity=world.nodes["b"].running.context.own, uptime_ms=0, phase=Phase.READY,
        serving=True, wall_ms=0, head=0, multicast_head=0, cursors={}, heard=(), suspects=(),
        members=(Address("no\x00host", 1),), asks=False,
    )
    with pytest.raises(m.WireError):
        m.decode_message(m.encode_message(beat))


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


