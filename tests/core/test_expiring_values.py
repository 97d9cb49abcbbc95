"""Value and deadline in one piece of bytes, and nothing else taken for that."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.expiring_values import (
    LAST_MS,
    expiring,
    is_expired,
    later,
    plain_of,
    until_of,
)

times = st.integers(0, LAST_MS)


@given(st.binary(), times)
def test_it_is_read_as_it_was_written(plain: bytes, until_ms: int) -> None:
    value = expiring(plain, until_ms)
    assert (plain_of(value), until_of(value)) == (plain, until_ms)
    assert is_expired(value, until_ms)
    assert not is_expired(value, until_ms - 1)


@given(st.binary())
def test_other_bytes_never_expire(value: bytes) -> None:
    assert until_of(value) is None
    assert plain_of(value) == later(value, 1) == value
    assert not is_expired(value, LAST_MS)


@pytest.mark.parametrize("damaged", [
    expiring(b"1", 5)[:-1], expiring(b"1", 5) + b"1", b"\xc9", b"",
    b"\xc9\x00\x00\x00\x08\x0d" + b"1" * 8,
])
def test_nor_do_damaged_ones(damaged: bytes) -> None:
    assert until_of(damaged) is None


def test_an_older_version_meets_an_extension_that_it_does_not_know() -> None:
    value = expiring(msgpack.packb("otp"), 258)
    deadline = bytes((0, 0, 0, 0, 0, 0, 1, 2))
    assert msgpack.unpackb(value) == msgpack.ExtType(14, deadline + b"\xa3otp")


@given(st.binary(), times, st.integers(-(2**70), 2**70))
def test_the_deadline_moves_as_far_as_it_can(plain: bytes, until_ms: int, by_ms: int) -> None:
    value = later(expiring(plain, until_ms), by_ms)
    assert (plain_of(value), until_of(value)) == (plain, min(max(until_ms + by_ms, 0), LAST_MS))
