"""All nodes agree on holders and owner, and only the sessions of a leaver move."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.digest import bucket_of
from clustersession.core.placement import holders, owner

nodes = st.lists(st.binary(min_size=8, max_size=8), unique=True, max_size=6)
routes = st.lists(st.text("abcxyz_0", min_size=1, max_size=4), unique=True, max_size=6)


def test_every_member_holds_every_session_at_present() -> None:
    assert holders("key", [b"node-ccc", b"node-aaa"]) == [b"node-ccc", b"node-aaa"]


@given(st.text(), nodes, st.randoms(use_true_random=False))
def test_all_nodes_agree_on_the_holders(key: str, members: list[bytes], random: Random) -> None:
    found = list(holders(key, members))
    assert bool(found) is bool(members)
    assert found == [node for node in members if node in found]
    shuffled = list(members)
    random.shuffle(shuffled)
    assert set(holders(key, shuffled)) == set(found)


@given(nodes)
def test_the_holders_are_those_of_the_bucket(members: list[bytes]) -> None:
    by_bucket: dict[int, list[bytes]] = {}
    for number in range(3000):
        key = f"key{number}"
        found = list(holders(key, members))
        assert by_bucket.setdefault(bucket_of(key), found) == found


def test_nobody_owns_without_members() -> None:
    assert owner("key", []) is None


@given(st.text(), routes, st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_matter(key: str, members: list[str], random: Random) -> None:
    shuffled = list(members)
    random.shuffle(shuffled)
    assert owner(key, members) == owner(key, shuffled)


@given(st.text(), routes)
def test_only_the_sessions_of_a_leaver_move(key: str, members: list[str]) -> None:
    chosen = owner(key, members)
    for leaver in members:
        if leaver != chosen:
            assert owner(key, [route for route in members if route != leaver]) == chosen


def test_sessions_spread_evenly() -> None:
    counts = Counter(owner(f"key{n}", ["one", "two", "three"]) for n in range(3000))
    assert set(counts) == {"one", "two", "three"}
    assert min(counts.values()) > 850


def test_the_choice_is_the_same_in_every_release() -> None:
    chosen = [owner(f"key{n}", ["tomcat1", "tomcat2", "tomcat3"]) for n in range(6)]
    assert chosen == ["tomcat1", "tomcat1", "tomcat2", "tomcat2", "tomcat2", "tomcat2"]
