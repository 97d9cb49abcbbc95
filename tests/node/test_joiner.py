"""Pages of a snapshot: asked for while the last one is stored, and asked for again."""

from collections.abc import Mapping

import pytest

from clustersession.core.errors import ReplicaFull
from clustersession.core.feed import Cursor
from clustersession.node import news
from clustersession.node.moment import Moment
from clustersession.node.snapshot import PAGE_TIMEOUT_S
from clustersession.wire import messages as m
from tests.node.world import World, formed, key, watch

SESSIONS = 300


def joining() -> World:
    """A node with several pages of sessions, and an empty one that has found it."""
    world = World("ab", repair_interval_s=3600.0)
    world.start("a")
    world.run_until(lambda: world.nodes["a"].phase() == "READY")
    for number in range(SESSIONS):
        world.write("a", key(number), create=True, pad="x" * 5000)
    world.start("b")
    return world


def test_the_next_page_is_asked_for_before_the_last_one_is_stored() -> None:
    world = joining()
    world.end("a", key(0))
    asked = watch(world, "a", m.SnapshotRequest)
    b = world.nodes["b"]
    merge, asked_at_merge = b.replica.merge, []

    def noting(sessions: object, wall_ms: int) -> int:
        # What is on its way to the donor has left by then.
        asked_at_merge.append((len(asked_at_merge) + 1, b.running.snapshots._after_key))
        return merge(sessions, wall_ms)  # type: ignore[arg-type]

    b.replica.merge = noting  # type: ignore[method-assign]
    world.run_until(lambda: b.phase() == "READY")
    pages = len(b.seen(news.SnapshotLoading))
    assert pages > 3
    assert asked["b"] == pages
    assert len({after for _, after in asked_at_merge}) == pages - 1
    last = b.seen(news.SnapshotLoading)[-1]
    assert last.loaded == last.total == SESSIONS, "what has ended is loaded, too"
    assert b.replica.digests() == world.nodes["a"].replica.digests()


@pytest.mark.parametrize("refused", [1, 2, 4])
def test_a_page_that_could_not_be_stored_is_asked_for_again(refused: int) -> None:
    world = joining()
    b = world.nodes["b"]
    merge, count = b.replica.merge, 0

    def full_once(sessions: object, wall_ms: int) -> int:
        nonlocal count
        count += 1
        if count == refused:
            raise ReplicaFull("for this test")
        return merge(sessions, wall_ms)  # type: ignore[arg-type]

    b.replica.merge = full_once  # type: ignore[method-assign]
    world.run_until(lambda: b.seen(news.MessageDropped))
    world.run(PAGE_TIMEOUT_S / 2)
    assert b.phase() == "JOINING"
    world.run_until(lambda: b.phase() == "READY")
    assert b.seen(news.SnapshotLoading)[-1].loaded == SESSIONS
    assert b.replica.stats().sessions == SESSIONS


def test_a_donor_that_dies_behind_its_page_loses_nothing_of_it() -> None:
    world = joining()
    b = world.nodes["b"]
    while b.running.snapshots._unstored is None:
        assert world.now_s < 20
        world.run(0.0005)
    assert not b.replica.stats().sessions
    world.kill("a")
    world.run(0.1)
    assert b.replica.stats().sessions
    assert b.running.snapshots._unstored is None
    world.start("a")
    world.run_until(lambda: b.phase() == "READY")
    assert b.replica.stats().sessions == SESSIONS


def test_an_end_of_loading_that_could_not_be_stored_comes_again() -> None:
    world = joining()
    b = world.nodes["b"]
    inherit, calls = b.replica.inherit, []

    def full_at_first(cursors: Mapping[bytes, Cursor]) -> None:
        calls.append(cursors)
        if len(calls) == 1:
            raise ReplicaFull("no space left")
        inherit(cursors)

    b.replica.inherit = full_at_first  # type: ignore[method-assign]
    world.run(2 * PAGE_TIMEOUT_S)
    assert b.phase() == "READY"
    assert len(calls) == 2


def test_the_last_page_ends_the_loading_once_though_it_comes_twice() -> None:
    world = joining()
    engine = world.nodes["b"].running
    finish, finished = engine.receiver.finish_loading, []
    on_page = engine.joiner.on_page

    def noting(inherited: Mapping[bytes, Cursor], at: Moment) -> None:
        finished.append(inherited)
        finish(inherited, at)

    def twice(node: bytes, page: m.SnapshotPageMessage, at: Moment) -> None:
        on_page(node, page, at)
        if page.done:
            on_page(node, page, at)

    engine.receiver.finish_loading = noting  # type: ignore[method-assign]
    engine.joiner.on_page = twice  # type: ignore[method-assign]
    world.run_until(lambda: world.nodes["b"].phase() == "READY")
    world.run(1)
    assert len(finished) == 1
    assert world.nodes["b"].seen(news.SnapshotLoading)[-1].loaded == SESSIONS


def test_draining_a_joining_node_still_lets_it_load() -> None:
    world = formed("ab")
    world.write("a", key(1), create=True, n="1")
    world.kill("b")
    world.wipe("b")
    world.run(1)
    world.start("b")
    node = world.nodes["b"]
    node.running.drain(world.at(node))
    world._pump(node)
    world.run(3)
    assert node.phase() == "DRAINING"
    assert world.values("b", key(1)) == {"n": "1"}
