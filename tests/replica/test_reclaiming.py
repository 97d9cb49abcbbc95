"""The replica deletes what has expired: durably, for everybody, and by itself."""

from pathlib import Path

import pytest

from clustersession.core.clock import first_time
from clustersession.core.contact import CONTACT_NOTE
from clustersession.core.errors import ReplicaFull
from clustersession.core.expiring_values import expiring
from clustersession.core.reclaiming import without_expired
from clustersession.core.state import Change, Register, SessionState, expires_ms
from clustersession.replica import tables
from clustersession.replica.opening import open_lmdb
from clustersession.replica.replica import Replica
from clustersession.replica.sweeping import reclaim_in_parts
from tests.replica.replica_checks import (
    NODE_A,
    NODE_B,
    SKEW_MS,
    WALL_MS,
    Open,
    catch_up,
    check,
    creation,
    end,
    key_of,
    write,
)

END_MS = WALL_MS + 300_000
STEP_MS = tables.EXPIRY_STEP_MS
OTP = expiring(b"123456", END_MS)


def begun(replica: Replica, count: int = 1) -> SessionState:
    replica.commit([creation(n, {"a": b"1", "otp": OTP}) for n in range(count)], WALL_MS)
    return copy_of(replica)


def copy_of(replica: Replica, number: int = 0) -> SessionState:
    state = replica.get(key_of(number))
    assert state is not None
    return state


def values_of(replica: Replica, number: int = 0) -> dict[str, bytes | None]:
    registers = copy_of(replica, number).registers.items()
    return {name: register.value for name, register in registers if name in ("a", "otp")}


def test_who_finds_it_over_has_it_deleted_for_all(replica: Replica) -> None:
    before = begun(replica)
    digests, head = replica.digests(), replica.head()
    early = replica.reclaim(key_of(0), END_MS - 1, spread=False)
    assert (early.effective, early.stored) == (False, [])
    done = replica.reclaim(key_of(0), END_MS, spread=False)
    assert done.stored == [(key_of(0), before, without_expired(before, END_MS))]
    assert values_of(replica) == {"a": b"1", "otp": None}
    # Nothing is told to anybody: the copy is of the same version, and the feed stands.
    assert (replica.digests(), replica.head()) == (digests, head)
    assert not replica.reclaim(key_of(0), END_MS, spread=False).effective
    assert not replica.reclaim(key_of(9), END_MS, spread=False).effective
    check(replica)


def test_it_stays_so_when_the_replica_is_opened_again_with_the_clock_set_back(
    tmp_path: Path
) -> None:
    def opened() -> Replica:
        return open_lmdb(
            tmp_path, new_node=lambda: NODE_A, map_bytes=2**26, clock_skew_ms_max=SKEW_MS,
            boot_id="boot",
        )

    replica = opened()
    begun(replica)
    replica.reclaim(key_of(0), END_MS, spread=False)
    replica.close()
    replica = opened()
    replica.commit([write(0, wall_ms=WALL_MS, b=b"2")], WALL_MS)
    assert values_of(replica) == {"a": b"1", "otp": None}
    check(replica)
    replica.close()


@pytest.mark.parametrize("spread", [False, True])
def test_the_sweep_finds_it_and_a_newer_write_is_left_alone(
    replica: Replica, spread: bool
) -> None:
    begun(replica, 3)
    replica.commit([write(1, otp=b"newer")], WALL_MS)
    replica.commit([write(2, otp=expiring(b"later", END_MS + 60_000))], WALL_MS)
    assert not replica.reclaim_due(END_MS, 10, spread=spread).states
    done = replica.reclaim_due(END_MS + STEP_MS + 1, 10, spread=spread)
    assert [key for key, _, _ in done.stored] == [key_of(0)]
    assert values_of(replica, 0)["otp"] is None
    assert values_of(replica, 1)["otp"] == b"newer"
    assert values_of(replica, 2)["otp"] == expiring(b"later", END_MS + 60_000)
    check(replica)
    assert replica.sweep(END_MS + STEP_MS + 1, 10) == 0, "no session ends for an attribute"


def test_the_sweep_obeys_its_limit(replica: Replica) -> None:
    begun(replica, 5)
    late_ms = END_MS + STEP_MS + 1
    looked = [len(replica.reclaim_due(late_ms, 2, spread=False).states) for _ in range(4)]
    assert looked == [2, 2, 1, 0]
    check(replica)


def test_what_is_left_of_other_times_is_no_harm(replica: Replica) -> None:
    """An older version removes sessions, and stores them, without looking after these entries."""
    begun(replica, 2)
    with replica._engine.write() as transaction:
        for number, at_ms in ((7, END_MS), (0, END_MS - 60_000)):
            index_ms = tables.expiry_index_ms(at_ms)
            entry = tables.attribute_expiry_key(index_ms, key_of(number))
            transaction.put(tables.EXPIRY, entry, b"")
        transaction.delete(
            tables.EXPIRY, tables.attribute_expiry_key(tables.expiry_index_ms(END_MS), key_of(1))
        )
    replica.commit([write(1, b=b"2")], WALL_MS)
    done = replica.reclaim_due(END_MS + STEP_MS + 1, 10, spread=False)
    assert sorted(key for key, _, _ in done.stored) == [key_of(0), key_of(1)]
    assert len(done.states) == 4
    check(replica)


def test_what_an_older_sweep_looks_at_ends_no_session(replica: Replica) -> None:
    """It takes every entry that begins with a number below its time for that of a session."""
    state = begun(replica)
    with replica._engine.read() as transaction:
        entries = [entry for entry, _ in transaction.scan(tables.EXPIRY, b"")]
    times = [tables.split_expiry(entry)[0] for entry in entries]
    assert times == [tables.expiry_index_ms(expires_ms(state)), times[1]]
    assert times[1] > 2**63
    assert len(times) == 2


def test_an_end_and_an_expired_session_take_the_entry_along(replica: Replica) -> None:
    state = begun(replica, 2)
    replica.commit([end(0)], WALL_MS)
    check(replica)
    assert not replica.reclaim(key_of(0), END_MS, spread=False).effective
    replica.commit([Change(key_of(1), WALL_MS, deletes=("otp",))], WALL_MS)
    check(replica)
    replica.commit([creation(2, {"otp": expiring(b"1", expires_ms(state) + 10**9)})], WALL_MS)
    assert replica.sweep(expires_ms(state) + 2 * STEP_MS, 10)
    check(replica)


def test_values_of_records_are_anything(replica: Replica) -> None:
    replica.commit([
        Change(".record", WALL_MS, {"value": OTP}, creation=creation(0).creation)
    ], WALL_MS)
    assert not replica.reclaim(".record", END_MS, spread=False).effective
    assert not replica.reclaim_due(END_MS + 2 * STEP_MS, 10, spread=False).states


def test_each_node_does_it_by_itself_and_both_are_alike(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    begun(a)
    catch_up(b, a)
    b.reclaim_due(END_MS + STEP_MS + 1, 10, spread=False)
    assert values_of(b)["otp"] is None
    assert a.digests() == b.digests()
    # The value comes once more, with another write of its writer.
    a.commit([write(0, c=b"3")], WALL_MS)
    b.merge([(key_of(0), copy_of(a))], WALL_MS)
    assert values_of(b)["otp"] is None
    a.reclaim(key_of(0), END_MS, spread=False)
    assert copy_of(a).registers == copy_of(b).registers
    check(b)


def test_a_write_of_another_node_at_the_next_tick_wins(open_replica: Open) -> None:
    """Its clock lags, and it has seen the value: dated as close as a write can be."""
    a, b = open_replica(NODE_B), open_replica(NODE_A)
    begun(a)
    catch_up(b, a)
    b.commit([write(0, otp=b"newer", wall_ms=WALL_MS - 60_000)], WALL_MS - 60_000)
    a.reclaim(key_of(0), END_MS, spread=False)
    catch_up(a, b)
    catch_up(b, a)
    assert values_of(a)["otp"] == values_of(b)["otp"] == b"newer"


def test_for_a_store_the_writer_s_deletion_is_in_its_feed(open_replica: Open) -> None:
    a, b = open_replica(NODE_A), open_replica(NODE_B)
    begun(a)
    catch_up(b, a)
    assert b.reclaim(key_of(0), END_MS, spread=True).head == 0, "it is not b's to tell"
    done = a.reclaim(key_of(0), END_MS, spread=True)
    assert done.head == 2
    (delta,) = a.feed(1, 1, 2**20).deltas
    assert delta.state.registers == {"otp": Register(first_time(WALL_MS), NODE_A, 2, None)}
    catch_up(b, a)
    assert copy_of(a).registers == copy_of(b).registers
    assert a.digests() == b.digests()
    check(a)


def test_a_clock_that_a_test_has_frozen_deletes_nothing_of_a_live_node(replica: Replica) -> None:
    begun(replica)
    replica.save_note(CONTACT_NOTE, b"1")
    replica.check_clock(lambda wall_ms: WALL_MS)
    assert not replica.reclaim(key_of(0), WALL_MS + 2 * SKEW_MS + 300_000, spread=False).effective


def test_what_does_not_fit_at_once_is_done_in_parts(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(replica, 12)
    asked: list[int] = []
    real = replica.reclaim_due

    def tight(wall_ms: int, limit: int, *, spread: bool) -> object:
        asked.append(limit)
        if limit > fits:
            raise ReplicaFull("no space left")
        return real(wall_ms, limit, spread=spread)

    monkeypatch.setattr(replica, "reclaim_due", tight)
    fits = 1
    late_ms = END_MS + STEP_MS + 1
    assert len(reclaim_in_parts(replica, late_ms, 10, spread=False).states) == 1
    assert asked == [10, 1]
    fits = 0
    with pytest.raises(ReplicaFull):
        reclaim_in_parts(replica, late_ms, 10, spread=False)
