"""What peers say of our feed: believed, or proof of a past that we have lost."""

import pytest

from clustersession.core.detector import FailureDetector
from clustersession.core.feed import Cursor
from clustersession.core.identity import REFUTATION_BITS, Address, Identity
from clustersession.core.membership import Membership
from clustersession.core.state import Change, Creation, SessionState
from clustersession.node import claims as module
from clustersession.node import news
from clustersession.node.claims import Claims
from clustersession.node.context import Context
from clustersession.node.journaling import Journaling
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire import messages as m
from clustersession.wire.messages import Sessions
from tests.node.world import formed, hand_over, key

NODE = b"our node"

NOW_MS = 1_800_000_000_000
OLDER = Identity(b"the peer", 1 << REFUTATION_BITS, "peer", Address("10.0.0.2", 4000))


def replica_with(writes: int) -> Replica:
    replica = open_memory(NODE, clock_skew_ms_max=1000)
    write(replica, writes)
    return replica


def write(replica: Replica, writes: int) -> None:
    for _ in range(writes):
        creation = Creation(NOW_MS, NOW_MS + 10**9, 0)
        replica.commit([Change("1key", NOW_MS, {"a": b"1"}, creation=creation)], NOW_MS)


def claims_over(replica: Replica) -> Claims:
    own = Identity(NODE, 2 << REFUTATION_BITS, "own", Address("10.0.0.1", 4000))
    membership = Membership(own, FailureDetector(0.5, 3.0))
    return Claims(Context(
        Settings(), replica, membership, lambda n: 0, False, Journaling(Settings(), replica)
    ))


def believes(claims: Claims, peer: Identity, position: int, **kind: bool) -> bool:
    claims._context.membership.linked(peer, 0.0)
    return claims.believes(peer.node, position, **kind)


def test_a_claim_up_to_the_opening_is_believed_and_so_is_what_follows() -> None:
    replica = replica_with(3)
    replica.note_opening()
    claims = claims_over(replica)
    assert believes(claims, OLDER, 3, reliable=True, provisional=False)
    write(replica, 2)
    assert believes(claims, OLDER, 5, reliable=True, provisional=False)
    assert not believes(claims, OLDER, 6, reliable=True, provisional=False)


def test_a_peer_not_told_yet_cannot_know_what_was_written_since_the_opening() -> None:
    replica = replica_with(3)
    replica.note_opening()
    write(replica, 1)  # by a worker, before the agent is there
    claims = claims_over(replica)
    assert claims.trusted_head == 3
    assert not believes(claims, OLDER, 4, reliable=True, provisional=False)


def test_a_loading_peer_may_have_begun_at_the_head_it_was_told() -> None:
    replica = replica_with(3)
    replica.note_opening()
    write(replica, 1)
    claims = claims_over(replica)
    assert believes(claims, OLDER, 4, reliable=True, provisional=True)
    assert believes(claims, OLDER, 4, reliable=True, provisional=False)


def test_a_datagram_is_measured_by_the_head_alone() -> None:
    replica = replica_with(3)
    replica.note_opening()
    write(replica, 1)
    claims = claims_over(replica)
    assert believes(claims, OLDER, 4, reliable=False, provisional=False)
    assert not believes(claims, OLDER, 5, reliable=False, provisional=False)
    assert not believes(claims, OLDER, 4, reliable=True, provisional=False), "not told"


def test_the_next_agent_of_the_same_opening_believes_up_to_its_start() -> None:
    replica = replica_with(3)
    replica.note_opening()
    assert believes(claims_over(replica), OLDER, 3, reliable=True, provisional=False)
    write(replica, 4)  # and its peers were told
    assert believes(claims_over(replica), OLDER, 7, reliable=True, provisional=False)


def test_an_agent_that_met_nobody_leaves_the_measure_to_the_next_one() -> None:
    replica = replica_with(3)
    replica.note_opening()
    claims_over(replica)
    write(replica, 4)
    claims = claims_over(replica)
    assert not believes(claims, OLDER, 7, reliable=True, provisional=False)
    assert claims.trusted_head == 3


def test_a_lost_past_stays_lost_when_the_feed_has_grown_beyond_the_claim() -> None:
    replica = replica_with(3)
    replica.note_opening()
    claims = claims_over(replica)
    assert believes(claims, OLDER, 3, reliable=True, provisional=False)
    write(replica, 1)
    assert not believes(claims, OLDER, 6, reliable=False, provisional=False)
    write(replica, 4)  # there was no space for a new node id
    assert not believes(claims, OLDER, 6, reliable=False, provisional=False)
    assert claims.trusted_head == 4


def test_an_opening_of_another_node_id_says_nothing() -> None:
    replica = replica_with(3)
    replica.note_opening()
    replica.renew_identity(b"new node", 3)
    write(replica, 5)
    assert believes(claims_over(replica), OLDER, 5, reliable=True, provisional=False)


def test_a_node_that_started_later_may_have_it_from_another() -> None:
    replica = replica_with(3)
    replica.note_opening()
    claims = claims_over(replica)
    assert believes(claims, OLDER, 3, reliable=True, provisional=False)
    write(replica, 4)
    younger = Identity(b"the next", 3 << REFUTATION_BITS, "next", Address("10.0.0.3", 4000))
    assert believes(claims, younger, 7, reliable=True, provisional=False)
    assert claims.trusted_head == 7
    elder = Identity(b"the last", 1 << REFUTATION_BITS, "last", Address("10.0.0.4", 4000))
    assert not believes(claims, elder, 7, reliable=True, provisional=False)
    assert claims.trusted_head == 3


def test_many_peers_cost_no_more_memory_and_never_our_node_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TOLD_MAX", 8)
    replica = replica_with(1)
    claims = claims_over(replica)
    peers = [OLDER._replace(node=b"%08d" % n, address=Address("10.0.0.5", n)) for n in range(9)]
    for peer in peers:
        assert believes(claims, peer, 1, reliable=True, provisional=False)
    write(replica, 1)
    assert believes(claims, peers[-1], 2, reliable=True, provisional=False)


def test_a_copy_that_names_a_write_of_ours_beyond_the_head() -> None:
    claims = claims_over(replica_with(2))
    known = SessionState(0, 0, 0, versions={NODE: 2})
    unknown = SessionState(0, 0, 0, versions={NODE: 3})
    assert claims.remembers(Sessions((("1key", known),)))
    assert not claims.remembers(Sessions((("1key", known), ("2key", unknown))))


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


def test_a_peer_cannot_know_changes_that_were_sent_to_nobody_since_the_opening() -> None:
    replica = replica_with(3)
    replica.note_opening()
    claims = claims_over(replica)
    claims._context.membership.linked(OLDER, 0.0)
    write(replica, 2)
    # It has taken the place 4 from a worker of ours, in a past that this replica has lost.
    assert not claims.knows(OLDER.node, 4, provisional=False)
    assert claims.trusted_head == 3


def test_a_peer_may_know_what_our_workers_have_sent_it() -> None:
    replica = replica_with(3)
    replica.note_opening()
    claims = claims_over(replica)
    claims._context.membership.linked(OLDER, 0.0)
    assert claims.knows(OLDER.node, 3, provisional=False)
    write(replica, 2)
    assert claims.knows(OLDER.node, 5, provisional=False)
    assert not claims.knows(OLDER.node, 6, provisional=False)
    assert claims.trusted_head == 3


def test_a_peer_that_started_later_may_know_more() -> None:
    replica = replica_with(3)
    replica.note_opening()
    claims = claims_over(replica)
    later = OLDER._replace(incarnation=3 << REFUTATION_BITS)
    claims._context.membership.linked(later, 0.0)
    write(replica, 2)
    assert claims.knows(later.node, 5, provisional=False)
    assert not claims.knows(later.node, 6, provisional=False)
