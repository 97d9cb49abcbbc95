"""What tells the lives of one node apart."""

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.identity import (
    EPOCH_RANDOM_BITS,
    epoch_of,
    first_incarnation,
    is_ip_address,
    next_start,
)

times_ms = st.integers(0, 2**41)


@given(times_ms, times_ms)
def test_a_start_is_later_than_the_last_whatever_the_clock_says(last: int, wall_ms: int) -> None:
    start = next_start(last, wall_ms)
    assert start > last
    assert first_incarnation(start) > first_incarnation(last)


def test_a_count_that_fell_back_does_not_repeat_a_life() -> None:
    before = next_start(next_start(0, 1_800_000_000_000), 1_800_000_000_500)
    assert next_start(0, 1_800_000_001_000) > before


@given(times_ms, st.integers(0, 2**EPOCH_RANDOM_BITS - 1), st.integers(0, 2**EPOCH_RANDOM_BITS - 1))
def test_epochs_follow_the_starts_and_fit_the_header(last: int, one: int, other: int) -> None:
    start = next_start(last, 0)
    assert epoch_of(last, one) < epoch_of(start, other) < 2**64


def test_what_is_an_ip_address() -> None:
    for text in ("127.0.0.1", "::1", "fe80::1%eth0"):
        assert is_ip_address(text), text
    for text in ("", "localhost", "1.2.3", "[::1]", "10.0.0.1:80", "0x7f.1", ":::"):
        assert not is_ip_address(text), text
