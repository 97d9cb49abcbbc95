"""The feed goes out: by multicast or TCP, in order, at no more cost than it must."""

import pytest

from clustersession.core.errors import ReplicaError
from clustersession.core.feed import Batch, Cursor
from clustersession.core.membership import MemberLeft
from clustersession.core.state import Change, Creation
from clustersession.node import news, sender
from clustersession.node.effects import Send
from clustersession.node.moment import Moment
from clustersession.wire import messages as m
from tests.node.world import MIB, equal, formed, key


@pytest.mark.parametrize("carrier", ["tcp", "multicast"])
def test_a_write_reaches_everybody_and_is_confirmed(carrier: str) -> None:
    world = formed("abc", carrier=carrier)
    head = world.write("a", key(1), create=True, user="ann")
    token = world.confirm("a", head, all_peers=True)
    world.run(0.1)
    assert world.answer("a", token) == 2
    assert world.values("b", key(1)) == world.values("c", key(1)) == {"user": "ann"}
    assert equal(world)


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


def test_who_was_left_out_of_a_flush_gets_its_part_with_the_next_word_of_anybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender, "DELTAS_PER_FLUSH_MAX", 4)
    world = formed("abc", carrier="tcp")
    world.run(2)
    for number in range(6):
        world.write("a", key(number), create=True)
    world.run(1)
    a, b, c = (world.nodes[name] for name in "abc")
    peers = a.running.context.peers
    peers[b.replica.node].progress.resume(Cursor(0, 0))
    peers[c.replica.node].progress.resume(Cursor(2, 2))

    def receivers() -> list[bytes]:
        return [
            effect.node for effect in a.running.effects()
            if isinstance(effect, Send) and isinstance(m.decode_message(effect.data), m.Changes)
        ]

    a.running.sender.flush(world.at(a))
    assert receivers() == [c.replica.node], "the four changes for c are all for now"
    confirmed = m.Progress(Cursor(6, 6), False, False)
    a.running.sender.on_progress(peers[c.replica.node], confirmed, world.at(a))
    assert receivers() == [b.replica.node]


def test_a_flush_that_was_cut_short_goes_on_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "BATCH_DELTAS_MAX", 2)
    monkeypatch.setattr(sender, "DELTAS_PER_FLUSH_MAX", 4)
    world = formed("ab", carrier="tcp")
    world.run(2)
    world.make_deaf("b", "a")
    a, b = world.nodes["a"], world.nodes["b"]
    now_ms = world.at(a).wall_ms
    creation = Creation(now_ms, now_ms + 10**8, 10**7)
    a.replica.commit([Change(key(n), now_ms, creation=creation) for n in range(12)], now_ms)
    world.feed_moved("a")
    world.run(0.0015)
    assert b.replica.get(key(4)) is None
    world.run(0.02)
    assert b.replica.get(key(11)) is not None


def test_a_replica_that_fails_is_not_read_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "BATCH_DELTAS_MAX", 2)
    monkeypatch.setattr(sender, "DELTAS_PER_FLUSH_MAX", 4)
    world = formed("ab", carrier="tcp")
    world.run(2)
    a = world.nodes["a"]
    now_ms = world.at(a).wall_ms
    creation = Creation(now_ms, now_ms + 10**8, 10**7)
    a.replica.commit([Change(key(n), now_ms, creation=creation) for n in range(12)], now_ms)
    world.feed_moved("a")

    def failing(*wanted: object) -> Batch:
        raise ReplicaError("failed")

    monkeypatch.setattr(a.replica, "feed", failing)
    world.make_deaf("b", "a")
    world.run(0.1)
    assert len(a.seen(news.ReplicaFailed)) <= 2


def test_many_changes_go_out_in_batches_that_hold_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender, "BATCH_DELTAS_MAX", 3)
    world = formed("ab", carrier="tcp")
    a, b = world.nodes["a"], world.nodes["b"]
    sizes: list[int] = []
    on_changes = b.running.receiver.on_changes

    def noting(node: bytes, message: m.Changes, at: Moment, *, reliable: bool) -> None:
        sizes.append(len(message.batch.deltas))
        on_changes(node, message, at, reliable=reliable)

    b.running.receiver.on_changes = noting  # type: ignore[method-assign]
    now_ms = world.at(a).wall_ms
    creation = Creation(now_ms, now_ms + 10**8, 10**7)
    a.replica.commit([Change(key(n), now_ms, creation=creation) for n in range(100)], now_ms)
    world.feed_moved("a")
    world.run_until(lambda: b.replica.get(key(99)) is not None)
    assert sum(sizes) >= 100
    assert max(sizes) == 3
