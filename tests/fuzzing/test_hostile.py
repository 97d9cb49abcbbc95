"""A hostile peer breaks nothing and fills nothing; the honest ones go on."""

import pytest

from clustersession.core import membership
from clustersession.core.feed import Batch, Cursor
from clustersession.core.identity import Address, Identity, Phase
from clustersession.core.state import Change, Creation, Delta, SessionState
from clustersession.node import effects
from clustersession.node.puller import ASKED_MAX, PENDING_MAX
from clustersession.node.sender import DELTAS_PER_FLUSH_MAX
from clustersession.wire import messages as m
from clustersession.wire.fields import KEYS_MAX, LISTED_MAX, Entry
from tests.fuzzing.bounds import check_bounds
from tests.fuzzing.hostile import Attack, attack

NODE = b"\x03" * 8
KEYS = [f"3{number:022d}" for number in range(100_000)]


@pytest.mark.parametrize("seed", range(4))
def test_a_peer_that_says_anything_breaks_nothing(seed: int) -> None:
    attack(seed, 1200)


@pytest.fixture
def plan() -> Attack:
    """An honest pair, and a connection of a third to one of them."""
    return Attack(1)


def say(plan: Attack, message: m.Message, node: bytes = NODE) -> None:
    plan.engine.receive(
        node, m.encode_message(message), plan.world.at(plan.victim), reliable=True
    )
    plan.world._pump(plan.victim)


def connect(plan: Attack, node: bytes = NODE, address: Address | None = None) -> None:
    identity = Identity(node, 2**20, "x", address or Address("10.0.0.9", 4000))
    plan.engine.link_up(identity, plan.world.at(plan.victim))
    plan.world._pump(plan.victim)


def state(plan: Attack, node: bytes = NODE) -> SessionState:
    now_ms = plan.world.at(plan.victim).wall_ms
    return SessionState(now_ms, now_ms, now_ms + 10**8, {}, {node: 1})


def finish(plan: Attack) -> None:
    """Bounds hold, and everything works when the peer is gone."""
    check_bounds(plan.engine)
    plan.end()


def test_listings_without_end_are_not_all_remembered(plan: Attack) -> None:
    connect(plan)
    versions = {b"elsewher": 1}
    for number in range(4):
        keys = KEYS[LISTED_MAX * number : LISTED_MAX * (number + 1)]
        say(plan, m.Listing((), tuple(Entry(key, versions, 2**62) for key in keys), False))
    assert LISTED_MAX <= len(plan.engine.puller.pending(NODE)) <= PENDING_MAX
    finish(plan)


def test_a_listing_answered_a_little_at_a_time_is_followed_to_its_end(plan: Attack) -> None:
    connect(plan)
    copy = state(plan)
    say(plan, m.Listing((), tuple(Entry(k, {b"elsewher": 1}, 2**62) for k in KEYS[:6000]), False))
    for start in range(0, 6000, ASKED_MAX):
        keys = KEYS[start : min(start + ASKED_MAX, 6000)]
        say(plan, m.Sessions(tuple((key, copy) for key in keys)))
    assert plan.victim.replica.get(KEYS[5999]) == copy
    assert not plan.engine.puller.pending(NODE)


def test_batches_whose_sessions_never_come_are_not_all_held(plan: Attack) -> None:
    connect(plan)
    copy = state(plan)
    for number in range(30):
        keys = KEYS[3000 * number : 3000 * (number + 1)]
        deltas = [Delta(k, copy, full=False) for k in keys]
        batch = Batch(NODE, 0, 0, 10 + number, 10 + number, deltas)
        say(plan, m.Changes(batch, True))
        # A gap makes the node drop what it holds and ask anew.
        beyond = 2**41 + number
        say(plan, m.Changes(Batch(NODE, 0, 2**40 + number, beyond, beyond, []), True))
        plan.world.run(0.06)
        if number % 20 == 0:
            say(plan, m.Sessions(((keys[0], copy),)))
    finish(plan)


def test_a_peer_under_ever_new_names_is_forgotten(
    plan: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "ABSENT_MAX", 100)
    for number in range(250):
        node = number.to_bytes(8, "big")
        connect(plan, node, Address(f"10.9.{number >> 8}.{number & 255}", 4000))
        plan.engine.link_down(node, "connection lost", plan.world.at(plan.victim))
        plan.world._pump(plan.victim)
        if number % 100 == 0:
            plan.world.run(4)
    assert len(list(plan.engine.membership)) < 110 + 200
    finish(plan)
    connect(plan, b"one more")
    assert len(list(plan.engine.membership)) < 110


def test_addresses_that_are_our_own_are_not_all_remembered(plan: Attack) -> None:
    for number in range(2000):
        address = Address(f"127.0.{number >> 8}.{number & 255}", 4000)
        plan.engine.link_up(plan.engine.context.own, plan.world.at(plan.victim), address)
        plan.world._pump(plan.victim)
    finish(plan)


def test_questions_and_suspicions_without_end_cost_nothing(plan: Attack) -> None:
    connect(plan)
    identity = Identity(NODE, 2**20, "x", Address("10.0.0.9", 4000))
    own = plan.engine.context.own
    gossip = tuple(Address(f"10.7.0.{number}", 4000) for number in range(250))
    beat = m.Heartbeat(
        identity, 0, Phase.READY, True, 0, 5, 5, {own.node: Cursor(0, 0)}, (), (), gossip, True
    )
    for number in range(200):
        say(plan, beat)
        say(plan, m.ProbeRequest(plan.world.nodes["b"].replica.node))
        say(plan, m.ProbeReply(number.to_bytes(8, "big"), True))
        say(plan, m.SessionsRequest(tuple(KEYS[:KEYS_MAX]) if number % 100 == 0 else ()))
        plan.engine.receive(
            NODE, m.encode_message(beat), plan.world.at(plan.victim), reliable=False
        )
        plan.world._pump(plan.victim)
    finish(plan)


def test_a_peer_that_begins_anew_again_and_again_holds_up_nobody(plan: Attack) -> None:
    world, victim = plan.world, plan.victim
    wall_ms = world.at(victim).wall_ms
    creation = Creation(wall_ms, wall_ms + 10**8, 10**7)
    changes = [Change(key, wall_ms, {"n": b"1"}, creation=creation) for key in KEYS[:6_000]]
    victim.replica.commit(changes, wall_ms)
    world.feed_moved("a")
    world.run_until(lambda: world.values("b", KEYS[5_999]) == {"n": "1"})
    world.run(1)
    connect(plan)
    beginning = m.encode_message(m.Progress(Cursor(0, 0), True, False))
    for _ in range(3):
        plan.engine.receive(NODE, beginning, world.at(victim), reliable=True)
        sent = [o for o in plan.engine.effects() if isinstance(o, effects.Send) and o.node == NODE]
        said = [m.decode_message(o.data) for o in sent]
        deltas = sum(len(c.batch.deltas) for c in said if isinstance(c, m.Changes))
        assert 0 < deltas < 2 * DELTAS_PER_FLUSH_MAX
    finish(plan)
