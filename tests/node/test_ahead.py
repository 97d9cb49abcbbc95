"""What somebody waits for goes past what is queued before it, and moves no cursor."""

import pytest

from clustersession.core.state import LOCAL_PREFIX, Change, Creation
from clustersession.node import ahead
from clustersession.node.ahead import changes_ahead
from clustersession.wire import messages as m
from tests.node.world import World, formed, key, watch

AWAITED = key(5000)
LATENCY_S = 0.02
ROUND_TRIP_S = 2 * LATENCY_S + 0.002


def queued(names: str = "ab") -> World:
    """A node that has far more to send than is under way at a time."""
    world = formed(names, carrier="tcp")
    world.run(2)
    world.write("a", AWAITED, create=True, n="0")
    world.run(2)
    a = world.nodes["a"]
    wall_ms = world.at(a).wall_ms
    creation = Creation(wall_ms, wall_ms + 86_400_000, 1_800_000)
    a.replica.commit(
        [Change(key(n), wall_ms, {"n": b"1"}, creation=creation) for n in range(3000)], wall_ms
    )
    world.link_latency_s = LATENCY_S
    world.feed_moved("a")
    return world


def cursor_at(world: World, name: str) -> int:
    return world.nodes[name].running.context.cursor(world.nodes["a"].replica.node).position


def test_a_write_is_confirmed_while_much_is_queued_before_it() -> None:
    world = queued()
    seq = world.write("a", AWAITED, n="1")
    token = world.confirm("a", seq, AWAITED)
    world.run(ROUND_TRIP_S)
    assert world.answer("a", token) == 1
    assert world.values("b", AWAITED) == {"n": "1"}
    assert cursor_at(world, "b") < seq, "its cursor must not claim what is not here"
    world.run(1)
    assert cursor_at(world, "b") == seq
    assert world.nodes["a"].replica.digests() == world.nodes["b"].replica.digests()


def test_without_the_names_of_the_sessions_it_waits_for_the_stream() -> None:
    world = queued()
    token = world.confirm("a", world.write("a", AWAITED, n="1"))
    world.run(ROUND_TRIP_S)
    assert world.answer("a", token) is None
    world.run(1)
    assert world.answer("a", token) == 1


def test_a_new_session_and_one_that_has_ended_go_ahead_as_well() -> None:
    world = queued()
    a = world.nodes["a"]
    wall_ms = world.at(a).wall_ms
    creation = Creation(wall_ms, wall_ms + 86_400_000, 1_800_000)
    new = key(5001)
    changes = [Change(new, wall_ms, {"n": b"1"}, creation=creation),
               Change(AWAITED, wall_ms, end="rotated")]
    token = world.confirm("a", a.replica.commit(changes, wall_ms).head, new, AWAITED)
    world.run(ROUND_TRIP_S)
    assert world.answer("a", token) == 1
    assert world.values("b", new) == {"n": "1"}
    ended = world.nodes["b"].replica.get(AWAITED)
    assert ended is not None
    assert ended.ended is not None


def test_who_waits_for_all_waits_for_the_streams() -> None:
    world = queued()
    came = watch(world, "b", m.DirectChange)
    token = world.confirm("a", world.write("a", AWAITED, n="1"), AWAITED, all_peers=True)
    world.run(1)
    assert world.answer("a", token) == 1
    assert not came


def test_nothing_is_sent_ahead_to_a_store() -> None:
    world = queued()
    a = world.nodes["a"].running
    a.context.store = [].append
    token = world.confirm("a", world.write("a", AWAITED, n="1"), AWAITED)
    assert not a.confirmations._waiters[token].ahead


def test_what_is_sent_at_once_is_not_sent_ahead() -> None:
    world = formed("ab", carrier="tcp")
    world.run(2)
    came = watch(world, "b", m.DirectChange)
    token = world.confirm("a", world.write("a", AWAITED, create=True, n="1"), AWAITED)
    world.run(0.1)
    assert world.answer("a", token) == 1
    assert not came


def test_another_peer_is_sent_it_when_the_first_does_not_answer() -> None:
    world = queued("abc")
    world.make_deaf("a", "b")
    token = world.confirm("a", world.write("a", AWAITED, n="1"), AWAITED)
    world.run(ROUND_TRIP_S + 0.01)
    assert world.answer("a", token) == 1
    assert world.values("c", AWAITED) == {"n": "1"}


def test_another_peer_is_sent_it_when_the_first_refuses() -> None:
    world = queued("abc")
    world.nodes["b"].running.receiver.loaded = False
    token = world.confirm("a", world.write("a", AWAITED, n="1"), AWAITED)
    world.run(2 * ROUND_TRIP_S)
    assert world.answer("a", token) == 1
    assert world.values("b", AWAITED) == {"n": "0"}


@pytest.mark.parametrize("wrong", ["asker", "number", "peer", "taken"])
def test_no_other_answer_counts(wrong: str) -> None:
    world = queued("abc")
    a, b, c = (world.nodes[name] for name in "abc")
    token = world.confirm("a", world.write("a", AWAITED, n="1"), AWAITED)
    answer = m.DirectAnswer(
        b.replica.node if wrong == "asker" else a.replica.node,
        token + (wrong == "number"), taken=wrong != "taken",
    )
    peer = a.running.context.peers[(c if wrong == "peer" else b).replica.node]
    a.running.confirmations.on_answer(peer, answer)
    world._pump(a)
    assert world.answer("a", token) is None


def test_what_is_held_ahead_says_nothing_of_what_was_written_before_it() -> None:
    world = queued()
    a, node = world.nodes["a"], world.nodes["b"].replica.node
    before = world.confirm("a", world.write("a", key(1), n="1"), key(1))
    token = world.confirm("a", world.write("a", AWAITED, n="1"), AWAITED)
    answer = m.DirectAnswer(a.replica.node, token, taken=True)
    a.running.confirmations.on_answer(a.running.context.peers[node], answer)
    world._pump(a)
    world.run(LATENCY_S / 2)
    assert world.answer("a", token) == 1
    assert world.answer("a", before) is None


def test_an_answer_from_before_a_link_broke_counts_for_nothing() -> None:
    """The peer may have gone back to before it meanwhile."""
    world = queued()
    a, b = world.nodes["a"], world.nodes["b"]
    peers, node = a.running.context.peers, b.replica.node
    before = peers[node]
    token = world.confirm("a", world.write("a", AWAITED, n="1"), AWAITED)
    world.reset("a", "b")
    world.run_until(lambda: peers.get(node, before) is not before)
    peer = peers[node]
    a.running.confirmations.on_answer(peer, m.DirectAnswer(a.replica.node, token, taken=True))
    world._pump(a)
    assert world.answer("a", token) is None


def test_what_stays_on_its_node_stays_there() -> None:
    world = queued()
    name = LOCAL_PREFIX + "draft"
    seq = world.write("a", AWAITED, **{name: "1", "n": "1"})
    message = changes_ahead(world.nodes["a"].running.context, 7, seq, [AWAITED])
    assert message is not None
    (delta,) = message.batch.deltas
    assert "n" in delta.state.registers
    assert name not in delta.state.registers


def test_what_is_not_here_or_too_large_is_left_to_the_stream(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    world = queued()
    context = world.nodes["a"].running.context
    seq = world.write("a", AWAITED, n="1")
    assert changes_ahead(context, 7, seq, [AWAITED])
    assert changes_ahead(context, 7, seq + 1, [AWAITED]) is None, "the replica was set back"
    assert changes_ahead(context, 7, seq, [AWAITED, key(6000)]) is None
    assert changes_ahead(context, 7, seq, [AWAITED, ".revoked." + "0" * 32]) is None
    monkeypatch.setattr(ahead, "AHEAD_BYTES_MAX", 100)
    assert changes_ahead(context, 7, seq, [AWAITED]) is None
