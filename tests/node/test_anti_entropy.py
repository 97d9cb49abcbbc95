"""Digests are compared, buckets are listed in slices, and what a dead node left behind is found."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.digest import BUCKETS, bucket_of
from clustersession.core.identity import Phase
from clustersession.node import anti_entropy, news
from clustersession.node.anti_entropy import Walk, root_of
from clustersession.node.moment import Moment
from clustersession.wire.messages import Listing
from tests.node.world import World, equal, formed, key


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


def lose(world: World, name: str, numbers: range) -> list[str]:
    """Take sessions out of a replica behind its node's back."""
    replica = world.nodes[name].replica
    gone = [key(number) for number in numbers]
    assert replica.evict([(k, s) for k in gone if (s := replica.get(k)) is not None]) == len(gone)
    return gone


def filled(count: int, **settings: float) -> World:
    world = formed("ab", **settings)
    for number in range(count):
        world.write("a", key(number), create=True, user="ann")
    world.run(1.0)
    assert equal(world)
    return world


def listings(world: World, name: str, walk: Walk) -> list[Listing]:
    repairer, found = world.nodes[name].running.anti_entropy, []
    while walk.buckets and len(found) < 2 * BUCKETS:
        found.append(repairer._slice(walk))
    return found


def test_a_slice_goes_on_where_the_last_one_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anti_entropy, "SLICE_ENTRIES", 3)
    world = filled(40)
    walk = Walk(deque())
    walk.add(range(BUCKETS), answer=True)
    slices = listings(world, "a", walk)
    assert max(len(one.entries) for one in slices) == 3
    assert [b for one in slices for b in one.buckets] == list(range(BUCKETS))
    keys = [entry.key for one in slices for entry in one.entries]
    assert (len(keys), set(keys)) == (40, {key(number) for number in range(40)})


def test_only_with_its_end_is_a_bucket_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anti_entropy, "SLICE_ENTRIES", 1)
    world = filled(1)
    walk = Walk(deque())
    walk.add([bucket_of(key(0))], answer=True)
    assert [(one.answer, len(one.entries)) for one in listings(world, "a", walk)] == [
        (False, 1), (True, 0)
    ]


def test_what_is_asked_for_again_is_not_listed_twice() -> None:
    walk = Walk(deque())
    walk.add([1, 2], answer=False)
    walk.add([2, 3], answer=False)
    assert list(walk.buckets) == [(1, False), (2, False), (3, False)]


@pytest.mark.parametrize("lacking", ["a", "b"])
def test_repair_goes_on_at_once_until_nothing_is_missing(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anti_entropy, "BUCKETS_PER_ROUND_MAX", 4)
    world = filled(60, repair_interval_s=5)
    lose(world, lacking, range(60))
    world.run(5.0 + 3.0)
    assert equal(world)


def test_a_round_that_repairs_nothing_is_not_followed_by_another_at_once() -> None:
    world = filled(5, repair_interval_s=5)
    repairer = world.nodes["a"].running.anti_entropy
    begun: list[float] = []
    start = repairer.start

    def noting(at: Moment) -> None:
        begun.append(at.now_s)
        start(at)

    repairer.start = noting  # type: ignore[method-assign]
    world.run(11.0)
    assert len(begun) <= 3


def test_a_node_that_loads_begins_no_round() -> None:
    world = formed("ab", repair_interval_s=1)
    node = world.nodes["b"].running
    sent = []
    for phase in (Phase.JOINING, Phase.READY):
        node.context.phase = phase
        due = world.at(world.nodes["b"])._replace(now_s=node.anti_entropy.next_deadline())
        node.effects()
        node.anti_entropy.handle_timer(due)
        sent.append(len(node.effects()))
    assert sent == [0, 1]


def test_with_the_connection_goes_what_was_to_be_listed() -> None:
    world = filled(5)
    running = world.nodes["a"].running
    node = world.nodes["b"].replica.node
    running.anti_entropy._walks[node] = Walk(deque([(1, True)]))
    running.anti_entropy.repaired(node, world.at(world.nodes["a"]))
    running.anti_entropy.forget(node)
    assert (running.anti_entropy._walks, running.anti_entropy._again) == ({}, set())
