"""Digests are compared, buckets are listed in turn, and what a dead node left behind is found."""

from hypothesis import given
from hypothesis import strategies as st

from clustersession.node import news
from clustersession.node.anti_entropy import root_of
from tests.node.world import formed, key


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


def test_a_dead_nodes_last_write_that_reached_one_survivor_reaches_all() -> None:
    world = formed("abc")
    world.partition("a", "c")
    world.run(0.2)
    world.write("a", key(1), create=True, user="ann")
    world.run(0.1)
    assert world.values("b", key(1)) == {"user": "ann"}
    assert world.values("c", key(1)) is None
    world.kill("a")
    world.heal()
    world.run(1.0)
    assert world.values("c", key(1)) == {"user": "ann"}
    assert world.nodes["c"].seen(news.Repaired)


def test_a_listing_covers_every_bucket_in_turn() -> None:
    world = formed("ab")
    repairer = world.nodes["a"].running.anti_entropy
    listed = repairer._listing([1000, 0, 1], answer=True)
    assert listed.buckets == (1000, 0, 1)
