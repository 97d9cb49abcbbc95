"""A full store: what does not fit is tried again at a bounded pace, and nothing waits behind it."""

from collections.abc import Callable

import pytest

from clustersession.core.feed import Cursor
from clustersession.core.revocation import principal_tag
from clustersession.core.state import ENDED_INVALIDATED, ENDED_ROTATED, PRINCIPAL, Change, Creation
from clustersession.node import store_overflow
from clustersession.node.news import StoreFull, StoreHasSpace
from clustersession.node.store_calls import IndexEntry, Merge, MergeAnswer, Read
from tests.node.stored import NODE, WALL_MS, Stored, elsewhere, key


def refusing(*keys: str) -> Callable[[Merge], MergeAnswer | None]:
    """A store without space for some sessions, as long as they live."""
    return lambda call: (
        MergeAnswer.FULL if call.key in keys and call.state.ended is None else None
    )


def test_only_what_was_refused_is_not_confirmed() -> None:
    node = Stored().up()
    node.store.refuses = refusing(key(1))
    node.confirm(1, node.write(key(1), create=True, x=b"1"))
    node.confirm(2, node.write(key(2), create=True, x=b"1"))
    assert (node.confirmed(1), node.confirmed(2)) == (-1, 1)
    node.confirm(3, 1)
    assert node.confirmed(3) == -1
    assert node.engine.store is not None
    assert node.engine.store.overflow.is_full
    assert node.engine.sender.is_held()


def test_it_is_told_once_and_gets_there_when_there_is_space() -> None:
    node = Stored().up()
    node.store.refuses = refusing(key(1))
    node.write(key(1), create=True, x=b"1")
    for _ in range(3):
        node.wait(1.0)
        node.down()
        node.up()
    assert node.told.count(StoreFull()) == 1
    assert StoreHasSpace() not in node.told
    node.store.refuses = refusing()
    node.wait(1.5)
    assert node.told.count(StoreHasSpace()) == 1
    assert node.store.sessions[key(1)].registers["x"].value == b"1"
    node.confirm(1, 1)
    assert node.confirmed(1) == 1


def test_ends_and_reads_go_on() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.store.refuses = lambda call: MergeAnswer.FULL if call.state.ended is None else None
    node.write(key(1), x=b"grown")
    node.store.sessions.update(elsewhere([Change(
        key(2), WALL_MS, {"x": b"1"}, creation=Creation(WALL_MS, WALL_MS + 86_400_000, 1_800_000)
    )]))
    node.fetch(1, key(2))
    assert node.found(1)
    node.confirm(2, node.commit(Change(key(1), WALL_MS, end=ENDED_INVALIDATED)))
    assert node.confirmed(2) == 1
    assert node.store.sessions[key(1)].ended is not None
    node.wait(1.0)
    assert not node.engine.store.overflow.is_full  # type: ignore[union-attr]


def test_what_is_on_its_way_to_a_full_store_is_waited_for() -> None:
    node = Stored().up()
    node.store.refuses = refusing(key(1))
    node.write(key(1), create=True, x=b"1")
    node.slow = True
    node.confirm(1, node.write(key(2), create=True, x=b"1"))
    node.confirm(2, node.commit(Change(key(1), WALL_MS, end=ENDED_INVALIDATED)))
    assert (node.confirmed(1), node.confirmed(2)) == (None, None)
    node.answer()
    node.pump()
    node.answer()
    node.pump()
    assert (node.confirmed(1), node.confirmed(2)) == (1, 1)


def test_a_session_that_was_refused_goes_whole() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.store.refuses = refusing(key(1))
    node.write(key(1), y=b"2")
    node.store.refuses = refusing()
    node.write(key(1), z=b"3")
    assert set(node.store.sessions[key(1)].registers) >= {"x", "y", "z"}


def test_the_cursor_that_is_kept_stays_before_it() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.store.refuses = refusing(key(2))
    node.write(key(2), create=True, x=b"1")
    for number in range(3, 9):
        node.write(key(number), create=True, x=b"1")
    node.wait(1.5)
    assert node.store.cursors[NODE] == Cursor(1, 8)
    node.store.refuses = refusing()
    node.wait(3.0)
    assert node.store.cursors[NODE] == Cursor(8, 8)


def test_who_changes_an_id_waits_for_both_parts() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.store.refuses = refusing(key(2))
    at_ms = node.at().wall_ms
    creation = Creation(WALL_MS, WALL_MS + 86_400_000, 1_800_000)
    changes = [Change(key(2), at_ms, {"x": b"1"}, creation=creation),
               Change(key(1), at_ms, end=ENDED_ROTATED)]
    head = node.replica.commit(changes, at_ms).head
    node.engine.feed_moved(node.at())
    node.pump()
    node.confirm(1, head)
    assert node.confirmed(1) == -1


def test_an_end_that_goes_ahead_of_the_new_id_is_not_confirmed_without_it() -> None:
    node = Stored()
    node.write(key(1), create=True, x=b"1")
    node.write(key(4), create=True, x=b"1")
    node.store.refuses = refusing(key(2), key(4))
    node.slow = True
    node.up()
    while not node.calls(Read):
        node.answer()
        node.pump()
    # What the store lacks is told as it is then, and the feed follows.
    at_ms = node.at().wall_ms
    creation = Creation(WALL_MS, WALL_MS + 86_400_000, 1_800_000)
    changes = [Change(key(2), at_ms, {"x": b"1"}, creation=creation),
               Change(key(1), at_ms, end=ENDED_ROTATED)]
    head = node.replica.commit(changes, at_ms).head
    node.slow = False
    node.answer()
    node.pump()
    assert node.store.sessions[key(1)].ended is not None
    node.confirm(1, head)
    assert node.confirmed(1) == -1


def test_an_earlier_write_that_left_no_trace_is_not_confirmed() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.store.refuses = refusing(key(1))
    at_ms = node.at().wall_ms
    first = node.replica.commit([Change(key(1), at_ms, {"x": b"22"})], at_ms).head
    node.write(key(1), x=b"333")
    node.confirm(1, first)
    assert node.confirmed(1) == -1


def test_it_is_tried_again_at_a_bounded_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Stored().up()
    node.store.refuses = lambda call: MergeAnswer.FULL
    for number in range(300):
        node.write(key(number), create=True, x=b"1")
    before = len(node.asked)
    node.wait(10.0)
    beats = 10 / node.engine.context.settings.heartbeat_interval_s
    retried = node.calls(Merge, before)
    assert len({call.key for call in retried}) == 300
    assert len(retried) <= store_overflow.RETRIED_AT_ONCE * (beats + 1)
    node.store.refuses = refusing()
    node.wait(1.5)
    assert len(node.store.sessions) == 300


def test_more_than_is_remembered_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_overflow, "REFUSED_MAX", 10)
    node = Stored().up()
    node.store.refuses = lambda call: MergeAnswer.FULL
    for number in range(100):
        node.confirm(number, node.write(key(number), create=True, x=b"1"))
        assert node.confirmed(number) == -1
    assert len(node.engine.store.overflow) == 10  # type: ignore[union-attr]
    node.store.refuses = refusing()
    node.wait(3.0)
    assert len(node.store.sessions) == 100
    assert node.told.count(StoreHasSpace()) == 1


def test_the_index_names_what_gets_there_when_there_is_space() -> None:
    node = Stored().up()
    node.store.refuses = refusing(key(1))
    node.confirm(1, node.write(key(1), create=True, principal=b"ann"))
    assert node.confirmed(1) == -1
    node.store.refuses = refusing()
    node.wait(1.5)
    node.confirm(2, 1)
    assert node.confirmed(2) == 1
    login = node.store.sessions[key(1)].registers[PRINCIPAL]
    assert list(node.store.indexes[principal_tag("ann")]) == [IndexEntry(key(1), login[:3])]


def test_the_oldest_that_waits_is_what_was_refused() -> None:
    node = Stored().up()
    node.store.refuses = refusing(key(1))
    node.write(key(1), create=True, x=b"1")
    node.write(key(2), create=True, x=b"1")
    assert node.engine.store is not None
    assert node.engine.store.sender.lag() == 1
    assert node.engine.store.sender.oldest_ms() is not None
