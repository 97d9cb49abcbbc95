"""Keys sort as the scans need them, and damage is told from what a later version wrote."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.digest import BUCKETS, bucket_of
from clustersession.core.errors import OtherVersion, ReplicaUnusable, WireError
from clustersession.core.feed import START, Cursor
from clustersession.core.state import SessionState
from clustersession.replica import tables

keys = st.text("abcXYZ019_-", min_size=1, max_size=40)
numbers = st.integers(0, 2**63 - 1)
HEAD = tables.Head(b"nodenode", 7, 2**50, 3)


@given(numbers, numbers)
def test_places_of_the_feed_sort_as_their_numbers(a: int, b: int) -> None:
    assert (tables.feed_key(a) < tables.feed_key(b)) == (a < b)
    assert tables.seq_of_feed(tables.feed_key(a)) == a


@given(keys, keys)
def test_sessions_stand_by_bucket_and_come_back(a: str, b: str) -> None:
    assert tables.key_of_session(tables.session_key(a)) == a
    assert tables.start_of_bucket(bucket_of(a)) <= tables.session_key(a)
    if bucket_of(a) + 1 < BUCKETS:
        assert tables.session_key(a) < tables.start_of_bucket(bucket_of(a) + 1)
    if bucket_of(a) < bucket_of(b):
        assert tables.session_key(a) < tables.session_key(b)
    assert tables.session_key(a) < tables.start_after(a)


@given(st.integers(0, 2**50), keys)
def test_no_session_expires_before_its_time_nor_much_later(expires_ms: int, key: str) -> None:
    index_ms = tables.expiry_index_ms(expires_ms)
    assert expires_ms <= index_ms < expires_ms + tables.EXPIRY_STEP_MS
    assert tables.split_expiry(tables.expiry_key(index_ms, key)) == (index_ms, key)
    entry = tables.attribute_expiry_key(index_ms, key)
    assert tables.split_attribute_expiry(entry) == (index_ms, key)
    # To an older version it is a session's, long after all others.
    assert tables.split_expiry(entry)[0] == 2**64 - 1


@given(st.builds(Cursor, numbers, numbers, numbers))
def test_a_cursor_comes_back(cursor: Cursor) -> None:
    assert tables.decode_cursor(tables.encode_cursor(cursor)) == cursor


@pytest.mark.parametrize("data", [b"", b"x" * 15, b"x" * 25])
def test_a_cursor_that_is_none_is_one_at_the_start(data: bytes) -> None:
    assert tables.decode_cursor(data) == START


def test_a_later_layout_is_told_from_damage() -> None:
    data = tables.encode_head(HEAD)
    assert tables.decode_head(data) == HEAD
    with pytest.raises(OtherVersion):
        tables.decode_head(bytes([tables.LAYOUT + 1]) + data[1:] + b"and more")
    for damaged in (b"", data[:-1], b"\x00" + data[1:], b"\xff" + data[1:]):
        with pytest.raises(WireError) as caught:
            tables.decode_head(damaged)
        assert not isinstance(caught.value, OtherVersion)


def test_the_places_of_a_record_are_known_though_its_session_does_not_decode() -> None:
    state = SessionState(1000, 1000, 9000, {}, {b"nodenode": 1})
    data = tables.encode_record(5, 9000, 7, state)
    assert tables.decode_record(data) == tables.Record(5, 9000, 7, False, state)
    assert tables.decode_record(data[:-1]) == tables.Record(5, 9000, 7, False, None)
    with pytest.raises(WireError):
        tables.decode_record(data[:20])


@pytest.mark.parametrize(("read", "damaged"), [
    (tables.split_attribute_expiry, b"\xff" * 9),
    (tables.split_attribute_expiry, b"\xff" * 8 + b"x"),
    (tables.session_of_feed, b"\xff"), (tables.split_expiry, b"short"), (tables.seq_of_feed, b""),
    (tables.bucket_of_digest, b"\xff\xff"),
])
def test_a_damaged_key_makes_the_replica_unusable_and_raises_nothing_else(
    read: Callable[[bytes], object], damaged: bytes
) -> None:
    with pytest.raises(ReplicaUnusable):
        read(damaged)
