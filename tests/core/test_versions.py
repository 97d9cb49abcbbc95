"""Version vectors join to the least vector that covers both."""

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.versions import Versions, covers, merge_versions

vectors = st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 5))


@given(vectors, vectors, vectors)
def test_merging_is_a_join(a: Versions, b: Versions, c: Versions) -> None:
    assert merge_versions(a, a) == a
    assert merge_versions(a, b) == merge_versions(b, a)
    assert merge_versions(merge_versions(a, b), c) == merge_versions(a, merge_versions(b, c))


@given(vectors, vectors)
def test_the_join_is_the_least_that_covers_both(a: Versions, b: Versions) -> None:
    joined = merge_versions(a, b)
    assert covers(joined, a)
    assert covers(joined, b)
    assert covers(a, b) == (merge_versions(a, b) == a)


def test_merging_leaves_its_arguments_alone() -> None:
    a, b = {b"a": 1}, {b"a": 2, b"b": 1}
    merge_versions(a, b)
    assert (a, b) == ({b"a": 1}, {b"a": 2, b"b": 1})
