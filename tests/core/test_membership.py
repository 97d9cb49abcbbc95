"""The member table: each row of the table in the module's description, and what must not happen."""

from collections.abc import Callable

import pytest

from clustersession.core.detector import FailureDetector
from clustersession.core.identity import Address, Identity, Phase, first_incarnation
from clustersession.core.membership import (
    FORGET_AFTER_S,
    MemberAdded,
    MemberLeft,
    MemberLost,
    MemberRefuted,
    Membership,
    MembershipEvent,
    MemberSuspected,
    RouteConflict,
    Status,
)


def identity(name: str, *, port: int = 4000, start: int = 1, route: str = "") -> Identity:
    host = f"10.0.0.{ord(name)}"
    return Identity(
        name.encode() * 8, first_incarnation(start), route or name, Address(host, port)
    )


A, B, C = (identity(name) for name in "bcd")
OWN = identity("a")


def table() -> Membership:
    return Membership(OWN, FailureDetector(0.5, 3.0))


def with_member(status: Status) -> Membership:
    """A table with member A in a status at second 0."""
    members = table()
    members.linked(A, 0.0)
    if status is Status.SUSPECT:
        members.unlinked(A.node, "connection lost", 0.0)
    elif status is Status.DEAD:
        members.unlinked(A.node, "connection lost", 0.0)
        members.unreachable(A.node, True, 0.0)
    elif status is Status.LEFT:
        members.said_goodbye(A.node, 0.0)
    member = members.get(A.node)
    assert member is not None
    assert member.status is status
    return members


Action = Callable[[Membership], list[MembershipEvent]]
ACTIONS: dict[str, Action] = {
    "linked": lambda t: t.linked(A, 1.0),
    "heard": lambda t: t.heard(A, 1.0),
    "unlinked": lambda t: t.unlinked(A.node, "connection lost", 1.0),
    "refused": lambda t: t.unreachable(A.node, True, 1.0),
    "timed out": lambda t: t.unreachable(A.node, False, 1.0),
    "goodbye": lambda t: t.said_goodbye(A.node, 1.0),
    "vouched": lambda t: t.vouched(A.node, B.node, True, 1.0),
    "displaced": lambda t: t.linked(B._replace(address=A.address), 1.0),
}


@pytest.mark.parametrize(
    ("status", "action", "kinds", "after"),
    [
        (Status.ALIVE, "linked", [], Status.ALIVE),
        (Status.ALIVE, "heard", [], Status.ALIVE),
        (Status.ALIVE, "unlinked", [MemberSuspected], Status.SUSPECT),
        (Status.ALIVE, "refused", [], Status.ALIVE),
        (Status.ALIVE, "goodbye", [MemberLeft], Status.LEFT),
        (Status.ALIVE, "displaced", [MemberAdded], Status.ALIVE),
        (Status.SUSPECT, "linked", [MemberRefuted], Status.ALIVE),
        (Status.SUSPECT, "heard", [], Status.SUSPECT),
        (Status.SUSPECT, "unlinked", [], Status.SUSPECT),
        (Status.SUSPECT, "refused", [MemberLost], Status.DEAD),
        (Status.SUSPECT, "timed out", [], Status.SUSPECT),
        (Status.SUSPECT, "goodbye", [MemberLeft], Status.LEFT),
        (Status.SUSPECT, "vouched", [], Status.SUSPECT),
        (Status.SUSPECT, "displaced", [MemberLost, MemberAdded], Status.DEAD),
        (Status.DEAD, "linked", [MemberAdded], Status.ALIVE),
        (Status.DEAD, "heard", [], Status.DEAD),
        (Status.DEAD, "unlinked", [], Status.DEAD),
        (Status.DEAD, "refused", [], Status.DEAD),
        (Status.DEAD, "goodbye", [], Status.DEAD),
        (Status.LEFT, "linked", [MemberAdded], Status.ALIVE),
        (Status.LEFT, "heard", [], Status.LEFT),
        (Status.LEFT, "unlinked", [], Status.LEFT),
    ],
)
def test_each_transition(
    status: Status, action: str, kinds: list[type], after: Status
) -> None:
    members = with_member(status)
    assert [type(event) for event in ACTIONS[action](members)] == kinds
    member = members.get(A.node)
    assert member is not None
    assert member.status is after


def test_hosts_that_listen_nowhere_share_an_address_unless_they_share_a_route() -> None:
    members = table()
    nowhere = Address("172.17.0.2", 0)
    first, second = A._replace(address=nowhere), B._replace(address=nowhere)
    members.linked(first, 0.0)
    assert [type(e) for e in members.linked(second, 0.0)] == [MemberAdded]
    assert len(members.present()) == 2
    members.unlinked(second.node, "silent", 1.0)
    again = identity("x")._replace(address=nowhere, route=second.route)
    assert [type(e) for e in members.linked(again, 1.0)] == [MemberLost, MemberAdded]


@pytest.mark.parametrize("action", sorted(ACTIONS.keys() - {"linked", "displaced"}))
def test_nobody_is_added_by_anything_but_a_connection(action: str) -> None:
    members = table()
    assert ACTIONS[action](members) == []
    assert not list(members)


def test_silence_leads_to_suspicion_and_death() -> None:
    members = with_member(Status.ALIVE)
    seen: list[tuple[float, type]] = []
    for tick in range(1, 10):
        seen += [(tick * 0.5, type(event)) for event in members.handle_timer(tick * 0.5)]
    assert seen == [(2.0, MemberSuspected), (3.5, MemberLost)]


def test_what_is_heard_clears_a_silent_member_and_costs_trust_in_oneself() -> None:
    members = with_member(Status.ALIVE)
    for tick in range(5):
        members.handle_timer(tick * 0.5)
    assert [type(e) for e in members.heard(A, 2.1)] == [MemberRefuted]
    assert members.detector.health == 1


def test_our_own_pause_is_not_their_silence() -> None:
    members = with_member(Status.ALIVE)
    members.handle_timer(0.0)
    assert members.handle_timer(60.0) == []
    assert members.handle_timer(60.5) == []


def test_a_refused_member_lives_while_a_helper_has_not_answered() -> None:
    members = with_member(Status.SUSPECT)
    members.asked(A.node, [B.node, C.node])
    assert members.unreachable(A.node, True, 1.0) == []
    assert members.vouched(A.node, B.node, False, 1.1) == []
    assert [type(e) for e in members.vouched(A.node, C.node, False, 1.2)] == [MemberLost]


def test_one_helper_that_reaches_it_is_enough() -> None:
    members = with_member(Status.SUSPECT)
    members.asked(A.node, [B.node, C.node])
    members.unreachable(A.node, True, 1.0)
    members.vouched(A.node, B.node, True, 1.1)
    assert members.vouched(A.node, C.node, False, 1.2) == []
    assert members.handle_timer(2.0) == []


def test_a_helper_in_doubt_itself_is_not_waited_for() -> None:
    members = with_member(Status.SUSPECT)
    members.linked(B, 0.0)
    members.asked(A.node, [B.node])
    members.unreachable(A.node, True, 0.5)
    members.unlinked(B.node, "connection lost", 1.0)
    assert [type(e) for e in members.handle_timer(1.1)] == [MemberLost]


def test_two_that_are_connected_do_not_expel_each_other_over_an_address() -> None:
    members = with_member(Status.ALIVE)
    twin = B._replace(address=A.address)
    for second in range(5):
        members.linked(twin, float(second))
        members.linked(A, second + 0.5)
    assert {m.identity.node for m in members.present()} == {A.node, B.node}


def test_a_member_that_was_leaving_has_left_when_its_connection_goes() -> None:
    members = with_member(Status.ALIVE)
    member = members.get(A.node)
    assert member is not None
    member.phase = Phase.LEAVING
    assert [type(e) for e in members.unlinked(A.node, "connection lost", 1.0)] == [MemberLeft]


def test_an_older_word_changes_nothing() -> None:
    members = with_member(Status.ALIVE)
    newer = identity("b", start=2)
    members.linked(newer, 1.0)
    assert members.is_stale(A)
    assert members.heard(A, 9.0) == []
    member = members.get(A.node)
    assert member is not None
    assert member.identity == newer
    assert member.heard_s == 1.0


@pytest.mark.parametrize(
    ("offset", "refutes"),
    [(-1, False), (0, True), (5, True), (2**20 - 1, False), (2**20, False), (2**62, False)],
)
def test_a_suspicion_is_refuted_within_one_life_only(offset: int, refutes: bool) -> None:
    members = table()
    named = OWN.incarnation + offset
    assert members.suspected_by_peer([(B.node, named), (OWN.node, named)]) is refutes
    assert members.own.incarnation == (named + 1 if refutes else OWN.incarnation)


def test_two_with_one_route_are_reported_once_for_each_pair() -> None:
    members = table()
    twin = identity("e", route="a")
    events = members.linked(twin, 0.0)
    assert RouteConflict("a", (OWN.address, twin.address)) in events
    assert [e for e in members.linked(twin, 1.0) if isinstance(e, RouteConflict)] == []


def test_the_dead_are_forgotten_some_day() -> None:
    members = with_member(Status.DEAD)
    now_s = 0.0
    while now_s < FORGET_AFTER_S + 2:
        now_s += 0.5
        members.handle_timer(now_s)
    assert members.get(A.node) is None


def test_two_nodes_with_one_route_are_reported() -> None:
    own = Identity(b"a" * 8, 1, "web", Address("10.0.0.1", 4000))
    other = Identity(b"b" * 8, 1, "web", Address("10.0.0.2", 4000))
    events = Membership(own, FailureDetector(0.5, 3.0)).linked(other, 0.0)
    assert RouteConflict("web", (own.address, other.address)) in events


def test_what_a_heartbeat_says_is_noted_and_whether_it_changes_the_view() -> None:
    member = with_member(Status.ALIVE).get(A.node)
    assert member is not None
    assert member.note(Phase.READY, serving=True, uptime_ms=5, head=7, skew_ms=-3)
    assert (member.uptime_ms, member.head, member.skew_ms) == (5, 7, -3)
    assert not member.note(Phase.READY, serving=True, uptime_ms=6, head=8, skew_ms=0)
    assert member.note(Phase.DRAINING, serving=True, uptime_ms=7, head=8, skew_ms=0)
