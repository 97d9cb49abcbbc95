"""The one digest that stands for all buckets."""

from hypothesis import given
from hypothesis import strategies as st

from clustersession.node.anti_entropy import root_of


@given(st.integers(0, 6), st.data())
def test_the_root_is_the_exclusive_or_of_all_buckets(power: int, data: st.DataObject) -> None:
    numbers = data.draw(st.lists(
        st.integers(0, 2**64 - 1), min_size=2**power, max_size=2**power
    ))
    expected = 0
    for number in numbers:
        expected ^= number
    assert root_of(b"".join(number.to_bytes(8, "big") for number in numbers)) == expected


def test_no_digests_have_no_root() -> None:
    assert root_of(b"") == 0
