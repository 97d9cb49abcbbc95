"""How the sender sees a peer: where to begin, how much may be under way, what is confirmed."""

import pytest

from clustersession.core.feed import START, Batch, Cursor
from clustersession.core.progress import (
    FAR_BYTES,
    FAR_PLACES,
    WINDOW_BATCHES,
    WINDOW_BYTES,
    PeerProgress,
)

NODE = b"n" * 8


def batch(floor: int, after: int, upto: int, *, complete: bool) -> Batch:
    return Batch(NODE, floor, after, upto, upto if complete else upto + 1, ())


def begun(floor: int = 0, position: int = 0) -> PeerProgress:
    progress = PeerProgress()
    progress.resume(Cursor(floor, position))
    return progress


def test_nothing_is_sent_before_the_peer_says_where_to_begin() -> None:
    assert not PeerProgress().may_send(100)


@pytest.mark.parametrize(
    ("cursor", "head", "wanted"),
    [
        (Cursor(0, 0), 0, False),
        (Cursor(0, 0), 1, True),
        (Cursor(5, 5), 5, False),
        (Cursor(3, 5), 5, True),
        (Cursor(9, 9), 5, False),
    ],
)
def test_what_is_left_to_send(cursor: Cursor, head: int, wanted: bool) -> None:
    assert begun(*cursor[:2]).may_send(head) is wanted


def test_a_window_of_batches() -> None:
    progress = begun()
    for number in range(WINDOW_BATCHES):
        assert progress.may_send(100)
        progress.sent(batch(0, number, number + 1, complete=False), 10)
    assert not progress.may_send(100)
    progress.confirmed_to(Cursor(0, 1))
    assert progress.may_send(100)


def test_how_far_a_write_is() -> None:
    progress = begun(10, 10)
    assert not progress.is_far_from(10 + FAR_PLACES)
    assert progress.is_far_from(11 + FAR_PLACES)
    progress.sent(batch(10, 10, 11, complete=True), FAR_BYTES)
    assert not progress.is_far_from(11)
    progress.sent(batch(11, 11, 12, complete=True), 1)
    assert progress.is_far_from(12)
    progress.confirmed_to(Cursor(11, 11))
    assert not progress.is_far_from(12)
    assert not PeerProgress().is_far_from(1)


def test_a_window_of_bytes() -> None:
    progress = begun()
    progress.sent(batch(0, 0, 1, complete=False), WINDOW_BYTES)
    assert not progress.may_send(100)
    progress.confirmed_to(Cursor(0, 1))
    assert progress.may_send(100)


def test_datagrams_fill_no_window() -> None:
    progress = begun()
    for number in range(10 * WINDOW_BATCHES):
        data = batch(number, number, number + 1, complete=True)
        progress.sent(data, WINDOW_BYTES, expects_confirmation=False)
    assert progress.may_send(1000)


def test_the_floor_follows_only_a_complete_batch() -> None:
    progress = begun()
    progress.sent(batch(0, 0, 7, complete=False), 10)
    assert progress.cursor == Cursor(0, 7)
    progress.sent(batch(0, 7, 9, complete=True), 10)
    assert progress.cursor == Cursor(9, 9)


def test_only_the_floor_confirms_a_write() -> None:
    progress = begun()
    progress.confirmed_to(Cursor(0, 9))
    assert not progress.holds(5)
    progress.confirmed_to(Cursor(5, 9))
    assert progress.holds(5)
    assert not progress.holds(6)


def test_an_older_word_takes_nothing_back_but_a_resume_does() -> None:
    progress = begun()
    progress.confirmed_to(Cursor(9, 9))
    progress.confirmed_to(Cursor(4, 4))
    assert progress.holds(9)
    progress.resume(Cursor(4, 4))
    assert not progress.holds(9)
    assert progress.cursor == Cursor(4, 4)
    progress.resume(START)
    assert not progress.holds(1)


def test_a_resume_opens_the_window() -> None:
    progress = begun()
    progress.sent(batch(0, 0, 1, complete=False), WINDOW_BYTES)
    progress.resume(START)
    assert progress.may_send(1)


def test_a_peer_that_is_loading_holds_only_what_follows() -> None:
    progress = PeerProgress()
    progress.resume(Cursor(10, 10), provisional=True)
    assert not progress.holds(10)
    progress.confirmed_to(Cursor(12, 12))
    assert [seq for seq in range(1, 15) if progress.holds(seq)] == [11, 12]


def test_a_peer_that_moves_lags_no_more() -> None:
    progress = begun()
    progress.lagging = True
    progress.confirmed_to(Cursor(0, 5))
    assert progress.lagging
    progress.confirmed_to(Cursor(5, 5))
    assert not progress.lagging
