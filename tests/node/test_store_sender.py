"""The feed goes to the store, in order, and its cursor follows it there."""

from clustersession.core.feed import Cursor
from clustersession.core.state import LOCAL_PREFIX, Change
from clustersession.node import store_sender
from clustersession.node.news import FutureRefused, TooLarge
from clustersession.node.store_calls import STORE, Enter, KeepCursor, Merge, MergeAnswer, Read
from tests.node.stored import NODE, WALL_MS, Stored, creating, elsewhere, key


def test_a_write_is_pushed_and_confirmed_by_the_answer() -> None:
    node = Stored().up()
    node.slow = True
    seq = node.write(key(1), create=True, x=b"1")
    node.confirm(7, seq)
    assert node.confirmed(7) is None
    node.answer()
    node.pump()
    assert node.confirmed(7) == 1
    assert node.store.sessions[key(1)].registers["x"].value == b"1"


def test_the_position_goes_before_the_data_and_the_floor_after_it() -> None:
    node = Stored().up()
    node.slow = True
    node.write(key(1), create=True, x=b"1")
    *_, push = node.asked
    assert push.calls[0] == KeepCursor(NODE, Cursor(0, 1))
    assert [type(call) for call in push.calls[1:]] == [Merge, Read]
    node.slow = False
    node.answer()
    node.wait(1.0)
    assert node.store.cursors[NODE] == Cursor(1, 1)


def test_a_session_is_read_when_it_is_new_and_not_at_each_write() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    assert node.calls(Read) == [Read(key(1))]
    node.write(key(1), x=b"2")
    node.write(key(1), y=b"3")
    assert node.calls(Read) == [Read(key(1))]
    assert len(node.calls(Merge)) == 3


def test_what_others_have_written_of_a_session_that_is_new_here_is_read() -> None:
    node = Stored().up()
    node.store.sessions.update(elsewhere([creating(key(1), theirs=b"1")]))
    node.write(key(1), create=True, ours=b"2")
    state = node.replica.get(key(1))
    assert state is not None
    assert set(state.registers) >= {"theirs", "ours"}


def test_what_the_store_lacks_is_read_after_it_was_told_whole() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.store.sessions.clear()
    before = len(node.asked)
    node.write(key(1), y=b"2")
    assert node.calls(Read, before) == [Read(key(1))]


def test_a_part_of_what_the_store_lacks_is_followed_by_the_whole() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.store.sessions.clear()
    node.slow = True
    seq = node.write(key(1), y=b"2")
    node.confirm(7, seq)
    node.answer()
    assert node.confirmed(7) is None
    node.slow = False
    node.pump()
    assert node.confirmed(7) == 1
    assert set(node.store.sessions[key(1)].registers) >= {"x", "y"}


def test_the_next_one_is_not_confirmed_before_the_whole_has_come() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.store.sessions.clear()
    node.slow = True
    node.write(key(1), y=b"2")
    seq = node.write(key(2), create=True, x=b"1")
    node.confirm(7, seq)
    for ask in node.owed[:2]:
        node.engine.store_answered(
            ask.number, [node.store.answer(call) for call in ask.calls], node.at()
        )
    node.owed = node.owed[2:]
    node.pump()
    assert node.confirmed(7) is None
    node.answer()
    node.pump()
    assert node.confirmed(7) == 1


def test_after_an_outage_the_feed_goes_on_where_the_store_has_it() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.wait(1.0)
    node.down()
    for number in range(100):
        node.write(key(2), create=not number, x=b"%d" % number)
    before = len(node.asked)
    node.up()
    merged = node.calls(Merge, before)
    assert [call.key for call in merged] == [key(2)]
    assert node.store.sessions[key(2)].registers["x"].value == b"99"


def test_what_was_written_in_an_outage_is_confirmed_when_it_is_there() -> None:
    node = Stored().up()
    node.down()
    seq = node.write(key(1), create=True, x=b"1")
    node.slow = True
    node.up()
    node.answer()
    node.confirm(7, seq)
    assert node.confirmed(7) is None
    assert key(1) not in node.store.sessions
    node.answer()
    node.pump()
    assert node.confirmed(7) == 1


def test_with_the_store_away_a_write_is_not_confirmed_and_does_not_wait() -> None:
    node = Stored().up()
    node.down()
    seq = node.write(key(1), create=True, x=b"1")
    node.confirm(7, seq)
    assert node.confirmed(7) == -1


def test_a_store_that_hangs_costs_one_wait() -> None:
    node = Stored().up()
    node.slow = True
    node.confirm(7, node.write(key(1), create=True, x=b"1"))
    node.wait(1.1)
    assert node.confirmed(7) == -1
    node.confirm(8, node.write(key(2), create=True, x=b"1"))
    assert node.confirmed(8) == -1


def test_what_is_too_large_is_told_and_passed_over() -> None:
    node = Stored().up()
    node.store.refuses = lambda call: MergeAnswer.TOO_LARGE if call.key == key(1) else None
    node.write(key(1), create=True, x=b"1")
    node.confirm(7, node.write(key(2), create=True, x=b"1"))
    assert TooLarge(key(1)) in node.told
    assert node.confirmed(7) == 1


def test_what_is_from_the_future_is_told_and_sent_again_until_the_clocks_agree() -> None:
    node = Stored().up()
    node.store.refuses = lambda call: MergeAnswer.FROM_THE_FUTURE
    node.confirm(7, node.write(key(1), create=True, x=b"1"))
    assert any(isinstance(told, FutureRefused) for told in node.told)
    assert node.confirmed(7) is None
    node.store.refuses = lambda call: None
    node.wait(0.9)
    assert node.confirmed(7) == 1
    assert node.store.sessions[key(1)].registers["x"].value == b"1"


def test_what_stays_on_the_host_is_not_pushed() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.commit(Change(key(1), WALL_MS, {LOCAL_PREFIX + "here": b"secret"}))
    node.store.sessions.clear()
    node.engine.store_changed(None, node.at())
    node.pump()
    assert "secret" not in repr(node.asked)
    assert "x" in node.store.sessions[key(1)].registers


def test_an_outage_costs_no_more_than_a_window(monkeypatch) -> None:
    monkeypatch.setattr(store_sender, "BATCH_BYTES_MAX", 1)
    node = Stored().up()
    node.slow = True
    for number in range(100):
        node.write(key(number), create=True, x=b"1")
    assert len(node.owed) <= 20
    node.slow = False
    node.answer()
    node.pump()
    assert len(node.store.sessions) == 100


def test_it_leaves_when_the_store_holds_everything() -> None:
    node = Stored().up()
    node.slow = True
    node.write(key(1), create=True, x=b"1")
    assert not node.engine.sender.is_held()
    node.slow = False
    node.answer()
    node.pump()
    assert node.engine.sender.is_held()
    assert node.engine.sender.carrier() == "store"


def test_the_oldest_that_waits_is_what_was_written_first() -> None:
    node = Stored().up()
    assert node.engine.store is not None
    oldest_ms = node.engine.store.sender.oldest_ms
    node.write(key(1), create=True, x=b"1")
    assert oldest_ms() is None
    node.down()
    node.write(key(1), x=b"2")
    node.wait(1.0)
    node.write(key(2), create=True, x=b"1")
    assert oldest_ms() == WALL_MS
    # It is not the first any more, when it is written again.
    node.wait(1.0)
    node.write(key(1), x=b"3")
    found = oldest_ms()
    assert found is not None
    assert WALL_MS + 1000 <= found < WALL_MS + 2000
    node.up()
    assert oldest_ms() is None


def carried(node: Stored, name: str, **values: bytes) -> int:
    """A worker has written a change to the store itself, and tells nobody yet."""
    change = Change(name, node.at().wall_ms, values)
    head = node.replica.commit([change], node.at().wall_ms).head
    state = node.replica.get(name)
    assert state is not None
    node.store.sessions[name] = state
    return head


def granted(node: Stored) -> int:
    number = node.engine.grant_number()
    assert number is not None
    return number


def tell_held(node: Stored, *places: int, grant: int | None = None) -> bool:
    number = granted(node) if grant is None else grant
    counts = node.engine.note_held(number, places, node.at())
    if not counts:
        node.engine.feed_moved(node.at())
    node.pump()
    return counts


def test_what_a_worker_has_carried_is_not_pushed_again() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    before = len(node.asked)
    seq = carried(node, key(1), x=b"2")
    assert tell_held(node, seq)
    node.confirm(7, seq)
    assert node.confirmed(7) == 1
    assert not node.calls(Merge, before)
    node.wait(1.0)
    assert node.store.cursors[NODE] == Cursor(seq, seq), "the next beat keeps the cursor"


def test_what_follows_what_was_carried_is_left_to_whoever_writes_it_until_the_next_beat() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.write(key(2), create=True, x=b"1")
    before = len(node.asked)
    first = carried(node, key(1), x=b"2")
    node.replica.commit([Change(key(2), WALL_MS, {"x": b"3"})], WALL_MS)
    assert tell_held(node, first)
    assert not node.calls(Merge, before)
    node.wait(1.1)
    assert [call.key for call in node.calls(Merge, before)] == [key(2)], "its worker may be dead"


def test_a_write_that_waits_goes_with_what_was_carried() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    first = carried(node, key(1), x=b"2")
    last = node.write(key(2), create=True, x=b"1")
    before = len(node.asked)
    tell_held(node, first)
    node.confirm(7, last)
    assert node.confirmed(7) == 1
    assert not node.calls(Merge, before)


def test_nothing_counts_that_was_written_under_another_grant() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    before, number = len(node.asked), granted(node)
    seq = carried(node, key(1), x=b"2")
    node.down()
    assert node.engine.grant_number() is None
    del node.store.sessions[key(1)]
    node.up()
    assert not tell_held(node, seq, grant=number)
    node.wait(1.0)
    assert node.calls(Merge, before)
    assert key(1) in node.store.sessions
    assert granted(node) != number


def test_nothing_counts_that_the_store_has_forgotten_since() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    number, seq = granted(node), carried(node, key(1), x=b"2")
    node.store.sessions.clear()
    node.store.memory = b"another"
    node.wait(1.1)
    assert not tell_held(node, seq, grant=number)
    assert node.store.sessions[key(1)].registers["x"].value == b"2"
    assert granted(node) != number


def test_nothing_counts_that_was_written_before_the_store_was_emptied() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    number, seq = granted(node), carried(node, key(1), x=b"2")
    node.store.sessions = elsewhere([creating(key(1), z=b"1")])
    node.engine.store_changed(None, node.at())
    node.pump()
    assert not tell_held(node, seq, grant=number)
    assert node.store.sessions[key(1)].registers["x"].value == b"2"


def test_workers_are_left_to_the_agent_while_all_is_compared() -> None:
    node = Stored()
    assert node.engine.grant_number() is None
    node.write(key(1), create=True, x=b"1")
    node.slow = True
    node.up()
    for _ in range(3):
        assert node.engine.grant_number() is None
        node.answer()
        node.pump()
        if node.engine.store is not None and node.engine.store.reader.checked:
            break
    node.slow = False
    node.pump()
    granted(node)


def test_an_agent_that_was_started_again_has_another_grant() -> None:
    node = Stored().up()
    assert granted(node) >> store_sender.GRANT_BITS == node.engine.context.own.start


def test_the_index_is_told_of_what_was_not_carried_alone() -> None:
    node = Stored().up()
    node.write(key(1), create=True, principal=b"ann")
    before = len(node.asked)
    node.now_s += 1500.0
    seq = carried(node, key(1), x=b"2")
    tell_held(node, seq)
    assert not node.calls(Merge, before)
    assert not node.calls(Enter, before), "the worker has told it"
    node.write(key(1), x=b"3")
    assert len(node.calls(Merge, before)) == len(node.calls(Enter, before)) == 1


def test_the_index_is_told_of_what_was_carried_when_it_does_not_count() -> None:
    node = Stored().up()
    node.write(key(1), create=True, principal=b"ann")
    before, number = len(node.asked), granted(node)
    node.now_s += 1500.0
    seq = carried(node, key(1), x=b"2")
    node.down()
    node.up()
    assert not tell_held(node, seq, grant=number)
    assert node.calls(Enter, before)


def test_a_read_does_not_repair_what_a_worker_is_about_to_write() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    before = len(node.asked)
    node.replica.commit([Change(key(1), WALL_MS, {"x": b"2"})], WALL_MS)
    node.changed(key(1))
    assert node.calls(Read, before) == [Read(key(1))]
    assert not node.calls(Merge, before)


def test_a_read_repairs_what_was_confirmed_although_more_is_about_to_come() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.write(key(1), y=b"1")
    node.store.sessions.update(elsewhere([creating(key(1), z=b"1")]))
    before = len(node.asked)
    node.replica.commit([Change(key(1), WALL_MS, {"x": b"2"})], WALL_MS)
    node.changed(key(1))
    assert node.calls(Merge, before)
    assert node.store.sessions[key(1)].registers["y"].value == b"1"


def test_what_was_carried_in_front_of_what_is_being_written_is_not_looked_at_again() -> None:
    node = Stored().up()
    for number in range(3):
        node.write(key(number), create=True, x=b"1")
    before = len(node.asked)
    held = [carried(node, key(number), x=b"2") for number in range(2)]
    node.replica.commit([Change(key(2), WALL_MS, {"x": b"3"})], WALL_MS)
    assert tell_held(node, *held)
    progress = node.engine.context.peers[STORE].progress
    assert progress.cursor is not None
    assert progress.cursor.position == held[-1]
    assert progress.confirmed.floor < held[0], "only a reading that reaches the head moves it"
    last = carried(node, key(0), x=b"4")
    node.wait(1.1)
    assert progress.confirmed.floor == last
    assert node.store.cursors[NODE].floor in (held[0] - 1, last)
    assert {call.key for call in node.calls(Merge, before)} == {key(0), key(2)}
