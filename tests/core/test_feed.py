"""Cursors only go forward, and the floor only with a complete batch."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.feed import START, Batch, Cursor, advance, follows, is_news

NODE = b"node-aaa"


def batch(floor: int, after: int, upto: int, *, complete: bool) -> Batch:
    return Batch(NODE, floor, after, upto, upto if complete else upto + 1, [])


places = st.integers(0, 6)
cursors = st.tuples(places, places, places).map(
    lambda numbers: Cursor(min(numbers[:2]), max(numbers[:2]), numbers[2])
)
batches = st.builds(
    lambda floor, ends: Batch(NODE, floor, *sorted(ends), []),
    places, st.tuples(places, places, places),
)


def test_a_complete_batch_moves_floor_and_position() -> None:
    assert advance(START, batch(0, 0, 4, complete=True)) == Cursor(4, 4)


def test_an_incomplete_batch_moves_the_position_alone() -> None:
    assert advance(Cursor(1, 2), batch(1, 2, 4, complete=False)) == Cursor(1, 4, 5)


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


def test_a_batch_read_before_the_one_it_continues_does_not_move_the_floor() -> None:
    later = Batch(NODE, 0, 0, 2, 5, [])
    assert advance(START, later) == Cursor(0, 2, 5)
    for earlier in (batch(0, 1, 2, complete=True), batch(0, 1, 3, complete=True)):
        moved = advance(Cursor(0, 2, 5), earlier)
        assert moved.floor == 0
        assert advance(moved, batch(0, 3, 5, complete=True)) == Cursor(5, 5)


@given(st.randoms(use_true_random=False))
def test_batches_in_any_order_never_claim_what_did_not_come(rng: Random) -> None:
    """A feed that goes on, read in parts from anywhere; parts are lost and overtake each other."""
    places: dict[str, int] = {}
    written: list[tuple[int, str]] = []
    under_way: list[tuple[Batch, dict[str, int]]] = []
    cursor, held = START, dict.fromkeys("abcd", 0)
    for _ in range(60):
        if not written or rng.random() < 0.3:
            key = rng.choice("abcd")
            written.append((len(written) + 1, key))
            places[key] = len(written)
        elif rng.random() < 0.5:
            head = len(written)
            after = rng.choice((cursor.floor, cursor.position, rng.randint(0, head)))
            upto = rng.choice((head, rng.randint(min(after, head), head)))
            part = {key: place for key, place in places.items() if after < place <= upto}
            under_way.append((Batch(NODE, cursor.floor, min(after, upto), upto, head, []), part))
        elif under_way:
            batch, part = under_way.pop(rng.randrange(len(under_way)))
            if rng.random() < 0.7 and follows(batch, cursor) and is_news(batch, cursor):
                cursor = advance(cursor, batch)
                held.update({key: max(held[key], place) for key, place in part.items()})
        assert all(held[key] >= seq for seq, key in written if seq <= cursor.floor)
