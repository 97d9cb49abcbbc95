"""Cursors only go forward, and the floor only with a complete batch."""

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.feed import START, Batch, Cursor, advance, follows, is_news

NODE = b"node-aaa"


def batch(floor: int, after: int, upto: int, *, complete: bool) -> Batch:
    return Batch(NODE, floor, after, upto, complete, [])


places = st.integers(0, 6)
cursors = st.tuples(places, places).map(lambda pair: Cursor(min(pair), max(pair)))
batches = st.builds(
    lambda floor, ends, complete: batch(floor, min(ends), max(ends), complete=complete),
    places, st.tuples(places, places), st.booleans(),
)


def test_a_complete_batch_moves_floor_and_position() -> None:
    assert advance(START, batch(0, 0, 4, complete=True)) == Cursor(4, 4)


def test_an_incomplete_batch_moves_the_position_alone() -> None:
    assert advance(Cursor(1, 2), batch(1, 2, 4, complete=False)) == Cursor(1, 4)


def test_a_gap_or_a_higher_floor_does_not_follow() -> None:
    cursor = Cursor(2, 4)
    assert follows(batch(2, 4, 6, complete=True), cursor)
    assert follows(batch(1, 3, 6, complete=True), cursor)
    assert not follows(batch(3, 4, 6, complete=True), cursor)
    assert not follows(batch(2, 5, 6, complete=True), cursor)


@given(cursors, batches)
def test_a_cursor_never_goes_back(cursor: Cursor, received: Batch) -> None:
    moved = advance(cursor, received)
    assert moved.floor >= cursor.floor
    assert moved.position >= cursor.position
    assert moved.floor <= moved.position
    assert is_news(received, cursor) == (moved != cursor)


@given(cursors, batches)
def test_the_same_batch_is_no_news_the_second_time(cursor: Cursor, received: Batch) -> None:
    assert not is_news(received, advance(cursor, received))
