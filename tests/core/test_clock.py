"""Times of one node only grow, and order writes by node when they tie."""

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.clock import COUNTER_BITS, Stamp, next_time, too_far_ahead, wall_ms_of

walls_ms = st.integers(0, 2**45)


@given(st.lists(walls_ms, max_size=30))
def test_times_grow_whatever_the_wall_clock_does(readings_ms: list[int]) -> None:
    highest = 0
    for wall_ms in readings_ms:
        time = next_time(highest, wall_ms)
        assert time > highest
        assert wall_ms_of(time) >= wall_ms
        highest = time


def test_a_wall_clock_ahead_is_followed() -> None:
    assert next_time(5, 1000) == 1000 << COUNTER_BITS
    assert wall_ms_of(next_time(5, 1000)) == 1000


def test_writes_beyond_the_counter_run_into_the_next_millisecond() -> None:
    full = (1000 << COUNTER_BITS) + (1 << COUNTER_BITS) - 1
    assert wall_ms_of(next_time(full, 1000)) == 1001


def test_the_skew_bound_is_inclusive() -> None:
    assert not too_far_ahead(1300 << COUNTER_BITS, 1000, 300)
    assert too_far_ahead(1301 << COUNTER_BITS, 1000, 300)
    assert not too_far_ahead(0, 1000, 0)


def test_stamps_order_by_time_and_then_by_node() -> None:
    assert Stamp(1, b"b") < Stamp(2, b"a") < Stamp(2, b"b")
