"""The index of principals and revocations, on every engine."""

from clustersession.core.feed import START
from clustersession.core.revocation import revoke
from clustersession.core.state import PRINCIPAL, Change, Creation
from clustersession.replica import tables
from clustersession.replica.replica import ENDS_AT_ONCE, Replica
from tests.replica.replica_checks import (
    IDLE_MS,
    LIFE_MS,
    NODE_A,
    NODE_B,
    WALL_MS,
    Open,
    check,
    key_of,
)


def login(number: int, user: str = "ann", wall_ms: int = WALL_MS) -> Change:
    return Change(
        key_of(number), wall_ms, {PRINCIPAL: user.encode()},
        creation=Creation(wall_ms, wall_ms + LIFE_MS, IDLE_MS),
    )


def users(replica: Replica, user: str = "ann") -> list[str]:
    return sorted(key for key, _ in replica.sessions_of(user))


def pass_on(receiver: Replica, sender: Replica) -> None:
    cursor = receiver.cursors().get(sender.node, START)
    assert not receiver.apply(sender.feed(cursor.floor, cursor.position, 2**30), WALL_MS).missing


def test_sessions_are_found_by_user_as_long_as_they_are_the_users(replica: Replica) -> None:
    replica.commit([login(1), login(2), login(3, "bob"), login(4, "annabel")], WALL_MS)
    assert users(replica) == [key_of(1), key_of(2)]
    replica.commit([Change(key_of(1), WALL_MS, {PRINCIPAL: b"bob"})], WALL_MS)
    assert users(replica) == [key_of(2)]
    assert users(replica, "bob") == [key_of(1), key_of(3)]
    replica.commit([Change(key_of(3), WALL_MS, deletes=(PRINCIPAL,))], WALL_MS)
    replica.commit([Change(key_of(2), WALL_MS, end="invalidated")], WALL_MS)
    assert users(replica) == []
    assert users(replica, "bob") == [key_of(1)]
    check(replica)
    replica.sweep(WALL_MS + 2 * LIFE_MS, 100)
    assert users(replica, "bob") == []
    assert users(replica, "annabel") == []
    check(replica)


def test_what_comes_from_peers_is_found_and_ended_too(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([login(1), login(2)], WALL_MS)
    pass_on(b, a)
    assert users(b) == [key_of(1), key_of(2)]
    a.commit([Change(key_of(1), WALL_MS, end="revoked")], WALL_MS)
    pass_on(b, a)
    assert users(b) == [key_of(2)]
    check(b)


def test_a_revocation_ends_what_is_here_and_what_comes_later(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([login(1)], WALL_MS)
    b.commit([login(2), login(3, "bob")], WALL_MS)
    b.commit([revoke("ann", "", WALL_MS + 1, LIFE_MS)], WALL_MS + 1)
    assert users(b) == []
    assert users(b, "bob") == [key_of(3)]
    pass_on(b, a)
    assert users(b) == [], "it was not known when the sessions were revoked"
    pass_on(a, b)
    assert users(a) == []
    for replica in (a, b):
        for number in (1, 2):
            state = replica.get(key_of(number))
            assert state is not None
            assert state.ended is not None
            assert state.ended.reason == "revoked"
        check(replica)
    assert a.get(key_of(1)) == b.get(key_of(1))
    assert a.digests() == b.digests()
    a.commit([login(4, wall_ms=WALL_MS + 2)], WALL_MS + 2)
    pass_on(b, a)
    assert users(b) == [key_of(4)], "a login after the revocation is a new one"


def test_a_write_to_a_revoked_session_has_no_effect(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    a.commit([login(1)], WALL_MS)
    pass_on(b, a)
    b.commit([revoke("ann", "", WALL_MS, LIFE_MS)], WALL_MS)
    a.commit([Change(key_of(1), WALL_MS + 5, {"late": b"1"})], WALL_MS + 5)
    pass_on(b, a)
    pass_on(a, b)
    for replica in (a, b):
        assert not replica.commit([Change(key_of(1), WALL_MS, {"x": b"1"})], WALL_MS).effective
    assert users(a) == users(b) == []


def test_the_one_that_is_spared_stays(replica: Replica) -> None:
    replica.commit([login(1), login(2)], WALL_MS)
    replica.commit([revoke("ann", key_of(2), WALL_MS, LIFE_MS)], WALL_MS)
    assert users(replica) == [key_of(2)]


MANY = ENDS_AT_ONCE + 3


def many_logins(replica: Replica) -> None:
    replica.commit([login(number) for number in range(MANY)], WALL_MS)
    replica.commit([login(9000, "bob")], WALL_MS)


def living(replica: Replica) -> list[str]:
    """Those that a request would be served, by what ``get`` says."""
    states = [(key_of(number), replica.get(key_of(number))) for number in range(MANY)]
    return [key for key, state in states if state is not None and state.ended is None]


def test_very_many_sessions_end_in_parts_and_none_is_served_meanwhile(replica: Replica) -> None:
    many_logins(replica)
    committed = replica.commit([revoke("ann", "", WALL_MS + 1, LIFE_MS)], WALL_MS + 1)
    assert len(committed.stored) == ENDS_AT_ONCE + 1
    assert living(replica) == users(replica) == []
    assert users(replica, "bob") == [key_of(9000)]
    # A node that dies here goes on where it stopped: what is to be done stands in the replica.
    stored = replica.end_revoked()
    assert stored is not None
    assert len(stored) == MANY - ENDS_AT_ONCE
    assert replica.end_revoked() is None
    assert living(replica) == users(replica) == []
    check(replica)


def test_between_the_parts_one_may_log_in_again_and_one_is_spared(replica: Replica) -> None:
    many_logins(replica)
    spared = key_of(MANY - 1)
    replica.commit([revoke("ann", spared, WALL_MS + 1, LIFE_MS)], WALL_MS + 1)
    replica.commit([login(8000, wall_ms=WALL_MS + 2)], WALL_MS + 2)
    assert not replica.commit([Change(key_of(MANY - 2), WALL_MS, {"x": b"1"})], WALL_MS).effective
    assert users(replica) == [spared, key_of(8000)]
    while replica.end_revoked() is not None:
        pass
    assert living(replica) == [spared]
    assert users(replica) == [spared, key_of(8000)]
    check(replica)


def test_a_revocation_during_another_begins_anew(replica: Replica) -> None:
    many_logins(replica)
    replica.commit([revoke("ann", "", WALL_MS + 1, LIFE_MS)], WALL_MS + 1)
    replica.commit([revoke("bob", "", WALL_MS + 1, LIFE_MS)], WALL_MS + 1)
    replica.commit([login(8000, wall_ms=WALL_MS + 2)], WALL_MS + 2)
    replica.commit([revoke("ann", "", WALL_MS + 3, LIFE_MS)], WALL_MS + 3)
    while replica.end_revoked() is not None:
        pass
    assert living(replica) == users(replica) == users(replica, "bob") == []
    check(replica)


def test_what_a_peer_revoked_ends_in_parts_too(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    many_logins(a)
    pass_on(b, a)
    a.commit([revoke("ann", "", WALL_MS + 1, LIFE_MS)], WALL_MS + 1)
    told: list[str] = []
    b.observe(lambda stored: told.extend(key for key, _, after in stored if after.ended))
    pass_on(b, a)
    assert len(told) == ENDS_AT_ONCE
    assert living(b) == []
    for replica in (a, b):
        while replica.end_revoked() is not None:
            pass
    assert len(told) == MANY
    assert a.digests() == b.digests()
    assert a.get(key_of(MANY - 1)) == b.get(key_of(MANY - 1))


def test_an_index_that_an_older_version_left_behind_is_completed(replica: Replica) -> None:
    replica.commit([login(1), login(2), login(3, "bob")], WALL_MS)
    replica.commit([revoke("ann", "", WALL_MS + 1, LIFE_MS)], WALL_MS + 1)
    replica.commit([login(4, wall_ms=WALL_MS + 2)], WALL_MS + 2)
    with replica._engine.write() as transaction:
        transaction.clear(tables.PRINCIPALS)
    assert users(replica) == []
    replica.index_principals()
    assert users(replica) == [key_of(4)]
    assert users(replica, "bob") == [key_of(3)]
    check(replica)


def test_an_entry_whose_session_is_anothers_is_no_hit(replica: Replica) -> None:
    replica.commit([login(1), login(2, "bob")], WALL_MS)
    with replica._engine.write() as transaction:
        entry = next(key for key, _ in transaction.scan(tables.PRINCIPALS, b""))
        for number in (1, 2, 9):
            transaction.put(
                tables.PRINCIPALS, entry[: tables.TAG_BYTES] + key_of(number).encode(), b""
            )
    assert users(replica) in ([key_of(1)], [])
    assert users(replica, "bob") in ([key_of(2)], [])
