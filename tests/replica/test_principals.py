"""The index of principals and revocations, on every engine."""

from clustersession.core.feed import START
from clustersession.core.revocation import revoke
from clustersession.core.state import PRINCIPAL, Change, Creation
from clustersession.replica import tables
from clustersession.replica.replica import Replica
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
