"""Digests tell versions apart, and repair asks only for what the streams missed."""

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.digest import BUCKETS, bucket_of, entry_hash, missing_here

NODE_A, NODE_B = b"node-aaa", b"node-bbb"
vectors = st.dictionaries(st.sampled_from([NODE_A, NODE_B]), st.integers(1, 9))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_key_has_a_bucket(key: str) -> None:
    assert 0 <= bucket_of(key) < BUCKETS


@given(vectors)
def test_the_hash_does_not_depend_on_the_order_of_nodes(versions: dict[bytes, int]) -> None:
    backwards = dict(reversed(versions.items()))
    assert entry_hash("key", versions) == entry_hash("key", backwards)
    assert 0 <= entry_hash("key", versions) < 2**64


@given(st.text("abc"), vectors, st.text("abc"), vectors)
def test_the_hash_tells_keys_and_versions_apart(
    key: str, versions: dict[bytes, int], other_key: str, other_versions: dict[bytes, int]
) -> None:
    same = (key, versions) == (other_key, other_versions)
    assert (entry_hash(key, versions) == entry_hash(other_key, other_versions)) == same


def test_bucket_and_hash_are_the_same_in_every_release() -> None:
    assert bucket_of("1key") == 611
    assert entry_hash("1key", {NODE_A: 3}) == 0x82d2900184e51160


def test_what_a_live_member_is_about_to_send_is_not_missing() -> None:
    theirs = {NODE_A: 7}
    assert missing_here(theirs, {}, {NODE_A: 7}, frozenset({NODE_A}))
    assert not missing_here(theirs, {}, {NODE_A: 6}, frozenset({NODE_A}))
    assert missing_here(theirs, {}, {NODE_A: 6}, frozenset())
    assert not missing_here(theirs, {NODE_A: 7}, {}, frozenset())
    assert not missing_here({}, {NODE_A: 7}, {}, frozenset())
