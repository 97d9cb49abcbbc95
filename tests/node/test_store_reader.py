"""What is missed is read, what has changed is read again, and what the store lacks is told it."""

from clustersession.core.errors import ReplicaFull
from clustersession.core.revocation import principal_tag, revocation_key, revoke
from clustersession.core.state import Change
from clustersession.node import store_reader
from clustersession.node.effects import Located
from clustersession.node.news import StoreDamaged
from clustersession.node.store_calls import STORE, Damaged, Merge, MergeAnswer, Read
from tests.node.stored import WALL_MS, Stored, creating, elsewhere, key

RECORD = revocation_key(principal_tag("ann"))


def test_a_session_that_is_missed_is_read() -> None:
    node = Stored().up()
    node.store.sessions = elsewhere([creating(key(1), x=b"1")])
    node.fetch(7, key(1))
    assert node.found(7) is True
    assert node.replica.get(key(1)) == node.store.sessions[key(1)]


def test_not_there_is_final() -> None:
    node = Stored().up()
    node.fetch(7, key(1))
    assert node.found(7) is False


def test_requests_for_one_session_share_one_question() -> None:
    node = Stored().up()
    node.slow = True
    node.fetch(7, key(1))
    node.fetch(8, key(1))
    node.fetch(9, key(1))
    assert node.calls(Read) == [Read(key(1))]
    node.answer()
    node.pump()
    assert len(node.calls(Read)) == 2, "for those that came while it was asked"
    node.answer()
    node.pump()
    assert [node.found(token) for token in (7, 8, 9)] == [False] * 3


def test_what_began_while_a_session_was_read_is_found_by_who_misses_it_then() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    state = node.store.sessions.pop(key(1))
    node.slow = True
    node.changed(key(1))
    node.replica.evict([(key(1), state)])
    (asked,) = node.owed
    node.fetch(7, key(1))
    node.store.sessions[key(1)] = state
    node.engine.store_answered(asked.number, [None], node.at())
    node.owed.remove(asked)
    node.pump()
    assert node.found(7) is None
    node.answer()
    node.pump()
    assert node.found(7) is True


def test_a_store_that_is_away_makes_nobody_wait_and_ends_nothing() -> None:
    node = Stored().up()
    node.write(key(2), create=True, x=b"1")
    node.down()
    node.fetch(7, key(1))
    assert node.found(7) is False
    state = node.replica.get(key(2))
    assert state is not None
    assert state.ended is None


def test_a_store_that_is_slow_is_waited_for_once() -> None:
    node = Stored().up()
    node.slow = True
    node.fetch(7, key(1))
    node.wait(0.2)
    assert node.found(7) is None
    node.wait(0.1)
    assert node.found(7) is False
    node.fetch(8, key(2))
    assert node.found(8) is False


def test_a_change_of_another_node_is_read_at_once() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    mine = node.store.sessions[key(1)]
    theirs = elsewhere([creating(key(1), y=b"2")])[key(1)]
    node.store.sessions[key(1)] = theirs
    node.changed(key(1))
    state = node.replica.get(key(1))
    assert state is not None
    assert {"x", "y"} <= state.registers.keys()
    assert node.store.sessions[key(1)].registers["x"] == mine.registers["x"]


def test_a_change_of_what_is_not_here_is_nothing_to_us() -> None:
    node = Stored().up()
    before = len(node.asked)
    node.changed(key(1))
    assert node.calls(Read, before) == []


def test_a_change_while_it_is_read_has_it_read_again() -> None:
    node = Stored().up()
    node.slow = True
    node.fetch(7, key(1))
    node.store.sessions = elsewhere([creating(key(1), x=b"1")])
    node.changed(key(1))
    (ask,) = [ask for ask in node.owed if Read(key(1)) in ask.calls]
    node.engine.store_answered(ask.number, [None], node.at())
    node.owed.remove(ask)
    node.slow = False
    node.pump()
    assert node.replica.get(key(1)) is not None


def test_changes_are_reported_to_who_watches() -> None:
    node = Stored().up()
    seen: list[str] = []
    node.replica.observe(lambda stored: seen.extend(name for name, *_ in stored))
    node.store.sessions = elsewhere([creating(key(1), x=b"1")])
    node.fetch(7, key(1))
    assert seen == [key(1)]


def test_people_who_look_for_copies_are_told_the_stores() -> None:
    node = Stored().up()
    node.store.sessions = elsewhere([creating(key(1), x=b"1")])
    node.engine.locator.locate(9, key(1), node.now_s + 1.0)
    node.pump()
    assert Located(9, {STORE: node.store.sessions[key(1)]}, ()) in node.done


def test_a_users_session_comes_together_with_the_revocation() -> None:
    node = Stored().up()
    revoked = revoke("ann", "", WALL_MS, 86_400_000)
    node.store.sessions = elsewhere([creating(key(1), principal=b"ann"), revoked])
    node.store.sessions[key(1)] = elsewhere([creating(key(1), principal=b"ann")])[key(1)]
    node.fetch(7, key(1))
    state = node.replica.get(key(1))
    assert state is not None
    assert state.ended is not None


def test_a_users_session_is_not_here_before_the_record_was_read() -> None:
    node = Stored().up()
    node.store.sessions = elsewhere([creating(key(1), principal=b"ann")])
    node.slow = True
    node.fetch(7, key(1))
    node.answer()
    node.pump()
    assert node.replica.get(key(1)) is None
    assert node.found(7) is None
    node.answer()
    node.pump()
    assert node.found(7) is True


def test_a_revocation_that_comes_later_is_heard_of() -> None:
    node = Stored().up()
    node.write(key(1), create=True, principal=b"ann")
    assert Read(RECORD) in node.calls(Read)
    node.now_s += 1
    node.store.sessions.update(elsewhere([revoke("ann", "", WALL_MS + 1000, 86_400_000)]))
    node.changed(RECORD)
    state = node.replica.get(key(1))
    assert state is not None
    assert state.ended is not None


def test_a_session_that_changes_while_its_record_is_read_is_read_again() -> None:
    node = Stored().up()
    node.store.sessions = elsewhere([creating(key(1), principal=b"ann")])
    node.slow = True
    node.fetch(7, key(1))
    node.answer()
    node.store.sessions = elsewhere([creating(key(1), principal=b"ann", x=b"1")])
    node.changed(key(1))
    node.slow = False
    node.answer()
    node.pump()
    state = node.replica.get(key(1))
    assert state is not None
    assert "x" in state.registers


def test_a_new_connection_has_everything_here_read_again() -> None:
    node = Stored().up()
    for number in range(200):
        node.write(key(number), create=True, x=b"1")
    node.wait(1.0)
    node.down()
    before = len(node.asked)
    node.up()
    assert {call.key for call in node.calls(Read, before)} == {key(n) for n in range(200)}
    assert node.calls(Merge, before) == []


def test_a_memory_that_was_lost_is_filled_again_with_all_that_is_here() -> None:
    node = Stored().up()
    node.store.sessions = elsewhere([creating(key(1), x=b"1")])
    node.fetch(7, key(1))
    node.write(key(2), create=True, x=b"1")
    node.commit(Change(key(2), WALL_MS, end="invalidated"))
    node.store.sessions.clear()
    node.store.cursors.clear()
    node.store.memory = b"second"
    node.wait(1.0)
    assert node.store.sessions.keys() == {key(1), key(2)}
    assert node.store.sessions[key(2)].ended is not None


def test_an_end_that_the_store_forgot_is_told_again() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    alive = node.store.sessions[key(1)]
    node.commit(Change(key(1), WALL_MS, end="invalidated"))
    node.down()
    node.store.sessions[key(1)] = alive
    node.up()
    assert node.store.sessions[key(1)].ended is not None


def test_what_has_expired_by_the_stores_clock_is_not_told_again() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.store.wall_ms += 2 * 86_400_000
    node.wait(1.0)
    del node.store.sessions[key(1)]
    before = len(node.asked)
    node.changed(key(1))
    assert node.calls(Merge, before) == []


def test_what_finds_no_space_is_read_again(monkeypatch) -> None:
    node = Stored().up()
    node.store.sessions = elsewhere([creating(key(1), x=b"1")])

    def full(*_: object) -> int:
        raise ReplicaFull("full")

    with monkeypatch.context() as patch:
        patch.setattr(node.replica, "merge", full)
        node.fetch(7, key(1))
        assert node.replica.get(key(1)) is None
    node.wait(1.0)
    assert node.replica.get(key(1)) is not None


def test_only_copies_that_were_here_count_as_refreshed() -> None:
    node = Stored().up()
    node.store.sessions = elsewhere([creating(key(1), x=b"1")])
    node.fetch(7, key(1))
    assert node.engine.store is not None
    assert node.engine.store.reader.refreshed == 0
    again = Change(key(1), WALL_MS, {"x": b"2"})
    node.store.sessions = elsewhere([creating(key(1), x=b"1"), again])
    node.changed(key(1))
    assert node.engine.store.reader.refreshed == 1


def test_a_hundred_thousand_changes_cost_a_bounded_queue_and_a_miss_goes_first(monkeypatch) -> None:
    monkeypatch.setattr(store_reader, "WANTED_MAX", 50)
    node = Stored().up()
    for number in range(200):
        node.write(key(number), create=True, x=b"v" * 3000)
    node.slow = True
    reader = node.engine.store.reader
    node.changed(*(key(number) for number in range(200)))
    assert len(reader._queue) <= 50
    assert not reader.checked
    on_the_way = [len(ask.calls) for ask in node.owed]
    assert sum(on_the_way) * 3000 <= store_reader.GROUPS_MAX * store_reader.BYTES_AT_ONCE
    before = len(node.asked)
    node.fetch(7, key(999))
    assert [ask.calls for ask in node.asked[before:]] == [[Read(key(999))]]
    node.slow = False
    node.answer()
    node.pump()
    assert reader.checked


def test_a_damaged_session_is_told_once_again_by_who_holds_it() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    held = node.store.sessions[key(1)]
    node.store.sessions[key(1)] = Damaged((b"ra", b"forged"))  # type: ignore[assignment]
    mended = []

    def mend(call: Merge) -> None:
        mended.append(call.damaged)
        node.store.sessions[key(1)] = held

    node.store.refuses = mend
    node.changed(key(1))
    assert mended == [(b"ra", b"forged")]
    assert StoreDamaged(key(1), is_foreign=False) in node.told
    assert node.replica.get(key(1)) == held


def test_what_stays_damaged_makes_no_loop() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.store.sessions[key(1)] = Damaged()  # type: ignore[assignment]
    node.store.refuses = lambda call: MergeAnswer.SAME
    before = len(node.asked)
    node.changed(key(1))
    node.wait(5.0)
    assert len(node.calls(Merge, before)) == 1


def test_what_is_read_while_the_store_is_emptied_is_read_again() -> None:
    """The answer is from before, and nobody tells of the next change of what was forgotten."""
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.slow = True
    node.changed(key(1))
    [early], node.owed = node.owed, []
    before, since = [node.store.answer(call) for call in early.calls], len(node.asked)
    node.engine.store_changed(None, node.at())
    node.pump()
    node.engine.store_answered(early.number, before, node.at())
    node.pump()
    assert Read(key(1)) in node.calls(Read, since)
