"""Ends are fetched page by page, from nodes of an older version too."""

import pytest

from clustersession.wire import messages as m
from tests.node.journals import formed_with_journals
from tests.node.world import hand_over, key, watch


def test_all_that_has_ended_comes_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clustersession.node.snapshot.PAGE_BYTES_MAX", 200)
    world = formed_with_journals()
    for number in range(9):
        world.write("a", key(number), create=True, x="1")
        if number % 2:
            world.end("a", key(number))
    world.run(2.0)
    world.cut_power("b")
    world.journals["b"].waiting.clear()
    world.start("b")
    asked = watch(world, "a", m.SnapshotRequest)
    node = world.nodes["b"]
    world.run(3.0)
    fetcher = node.running.recovery._ends
    assert fetcher.fetched == {world.nodes["a"].replica.node}
    assert asked["b"] > 2


def test_a_page_that_was_not_asked_for_is_left_alone() -> None:
    world = formed_with_journals()
    page = m.SnapshotPageMessage("", (), "", True, {}, 0, True)
    hand_over(world, "a", "b", page)
    assert not world.nodes["a"].running.recovery._ends.fetched


def test_an_older_node_sends_whole_pages() -> None:
    world = formed_with_journals()
    node = world.nodes["b"]
    fetcher, at = node.running.recovery._ends, world.at(node)
    sender = world.nodes["a"].replica.node
    fetcher.fetch(sender, at)
    assert not fetcher.fetched
    assert not fetcher.on_page(sender, m.SnapshotPageMessage("x", (), "", True, {}, 0), at)
    assert fetcher.on_page(sender, m.SnapshotPageMessage("", (), "", True, {}, 0), at)
    assert fetcher.fetched == {sender}
