"""Copies that have exchanged their feeds are equal, however the transfer was cut and repeated."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clustersession.core.expiring_values import expiring
from clustersession.core.feed import START, Batch
from clustersession.core.reclaiming import untils
from clustersession.core.state import SessionState
from clustersession.replica.opening import open_lmdb, open_memory
from clustersession.replica.replica import Replica
from tests.replica.replica_checks import (
    LIFE_MS,
    NODE_A,
    NODE_B,
    NODE_C,
    SKEW_MS,
    WALL_MS,
    check,
    creation,
    end,
    sessions_of,
    write,
)

NODES = (NODE_A, NODE_B, NODE_C)

numbers = st.integers(0, 3)
places = st.integers(0, 2)
names = st.sampled_from(("a", "b", "c"))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("create"), places, numbers),
        st.tuples(st.just("set"), places, numbers, names),
        st.tuples(st.just("set"), places, numbers, names),
        st.tuples(st.just("limit"), places, numbers, names, st.integers(1, 9_000)),
        st.tuples(st.just("reclaim"), places),
        st.tuples(st.just("delete"), places, numbers, names),
        st.tuples(st.just("touch"), places, numbers),
        st.tuples(st.just("end"), places, numbers),
        st.tuples(st.just("chunk"), places, places),
        st.tuples(st.just("chunk"), places, places),
        st.tuples(st.just("repeat"), places),
        st.tuples(st.just("snapshot"), places, places),
        st.tuples(st.just("tick"), st.integers(-2_000, 10_000)),
    ),
    min_size=12,
    max_size=80,
)


class World:
    """Some replicas, the wall clock, and every batch that was ever sent."""

    def __init__(self, replicas: list[Replica], *, spread: bool = False) -> None:
        self.spread = spread
        self.replicas = replicas
        self.wall_ms = WALL_MS
        self.sent: list[Batch] = []
        self.value = 0

    def run(self, step: tuple[object, ...]) -> None:
        getattr(self, f"do_{step[0]}")(*step[1:])

    def at(self, place: int) -> Replica:
        return self.replicas[place % len(self.replicas)]

    def do_create(self, place: int, number: int) -> None:
        self.at(place).commit([creation(number, {"a": b"new"}, life_ms=LIFE_MS)], self.wall_ms)

    def do_set(self, place: int, number: int, name: str) -> None:
        self.value += 1
        change = write(number, wall_ms=self.wall_ms, **{name: b"%d" % self.value})
        self.at(place).commit([change], self.wall_ms)

    def do_limit(self, place: int, number: int, name: str, for_ms: int) -> None:
        self.value += 1
        value = expiring(b"%d" % self.value, self.wall_ms + for_ms)
        change = write(number, wall_ms=self.wall_ms, **{name: value})
        self.at(place).commit([change], self.wall_ms)

    def do_reclaim(self, place: int) -> None:
        self.at(place).reclaim_due(self.wall_ms, 2, spread=self.spread)

    def do_delete(self, place: int, number: int, name: str) -> None:
        change = replace(write(number, wall_ms=self.wall_ms), deletes=(name,))
        self.at(place).commit([change], self.wall_ms)

    def do_touch(self, place: int, number: int) -> None:
        self.at(place).commit([write(number, wall_ms=self.wall_ms)], self.wall_ms)

    def do_end(self, place: int, number: int) -> None:
        self.at(place).commit([end(number, wall_ms=self.wall_ms)], self.wall_ms)

    def do_tick(self, step_ms: int) -> None:
        self.wall_ms += step_ms

    def do_chunk(self, receiver: int, sender: int) -> bool:
        """One session of the sender's feed, from where the receiver's cursor stands."""
        if self.at(receiver) is self.at(sender):
            return False
        cursor = self.at(receiver).cursors().get(self.at(sender).node, START)
        batch = self.at(sender).feed(cursor.floor, cursor.position, 1)
        assert len(batch.deltas) <= 1
        self.sent.append(batch)
        return self.deliver(receiver, batch)

    def deliver(self, receiver: int, batch: Batch) -> bool:
        replica = self.at(receiver)
        before = replica.cursors().get(batch.sender, START)
        applied = replica.apply(batch, self.wall_ms)
        assert not applied.refused_future
        if applied.missing:
            source = next(r for r in self.replicas if r.node == batch.sender)
            copies = [(key, source.get(key)) for key in applied.missing]
            replica.merge([(key, copy) for key, copy in copies if copy], self.wall_ms)
        return applied.cursor != before

    def do_repeat(self, receiver: int) -> None:
        """Old batches arrive once more, out of order."""
        for batch in reversed(self.sent[-6:]):
            self.deliver(receiver, batch)

    def do_snapshot(self, receiver: int, donor: int) -> None:
        """A new member's first load: pages, then the cursors of the first page."""
        if self.at(receiver) is self.at(donor):
            return
        first = page = self.at(donor).snapshot("", 1)
        while True:
            self.at(receiver).merge(page.sessions, self.wall_ms)
            if page.done:
                break
            page = self.at(donor).snapshot(page.next_key, 1)
        self.at(receiver).inherit(first.cursors)

    def settle(self) -> None:
        """Every feed is followed to its head by everyone."""
        count = len(self.replicas)
        for _ in range(2_000):
            moved = [self.do_chunk(r, s) for r in range(count) for s in range(count)]
            if not any(moved):
                return
        raise AssertionError("the feeds never ran dry")


def without_access(sessions: dict[str, SessionState]) -> dict[str, SessionState]:
    return {key: replace(state, accessed_ms=0) for key, state in sessions.items()}


def play(
    replicas: list[Replica], plan: list[tuple[object, ...]], *, spread: bool = False
) -> None:
    world = World(replicas, spread=spread)
    replicas[0].commit([creation(number) for number in range(2)], WALL_MS)
    world.settle()
    for step in plan:
        world.run(step)
        for replica in replicas:
            check(replica)
    world.settle()
    versions = [replica.digests() for replica in replicas]
    for replica in replicas:
        replica.reclaim_due(world.wall_ms + 20_000, 100, spread=spread)
        if not spread:
            # Each has done it by itself: nothing is to be sent.
            assert replica.digests() == versions[replicas.index(replica)]
    if spread:
        world.settle()
    first = sessions_of(replicas[0])
    for replica in replicas[1:]:
        assert without_access(sessions_of(replica)) == without_access(first)
        assert replica.digests() == replicas[0].digests()
    for replica in replicas:
        check(replica)


@given(plan=steps, count=st.integers(2, 3), spread=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_replicas_in_memory_converge(
    plan: list[tuple[object, ...]], count: int, spread: bool
) -> None:
    replicas = [open_memory(node, clock_skew_ms_max=SKEW_MS) for node in NODES[:count]]
    play(replicas, plan, spread=spread)
    for replica in replicas:
        assert not any(untils(state) for state in sessions_of(replica).values())


@given(
    plan=st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.just(0), st.integers(0, 2), names),
            st.tuples(st.just("chunk"), st.just(1), st.just(0)),
        ),
        min_size=4, max_size=12,
    )
)
@settings(max_examples=300, deadline=None)
def test_one_receiver_follows_one_writer(plan: list[tuple[object, ...]]) -> None:
    play([open_memory(node, clock_skew_ms_max=SKEW_MS) for node in NODES[:2]], plan)


@contextmanager
def two_on_disk() -> Iterator[list[Replica]]:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        replicas: list[Replica] = []
        for node in NODES[:2]:
            draw: Callable[[], bytes] = lambda node=node: node  # noqa: E731
            replica = open_lmdb(
                Path(directory) / node.decode(), new_node=draw, map_bytes=2**26,
                clock_skew_ms_max=SKEW_MS, boot_id="boot",
            )
            stack.callback(replica.close)
            replicas.append(replica)
        yield replicas


@given(plan=steps)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_replicas_on_disk_converge(plan: list[tuple[object, ...]]) -> None:
    with two_on_disk() as replicas:
        play(replicas, plan)


def test_a_write_that_moves_behind_the_scan_is_not_lost() -> None:
    a, b = (open_memory(node, clock_skew_ms_max=SKEW_MS) for node in (NODE_A, NODE_B))
    world = World([a, b])
    a.commit([creation(1), creation(2), creation(3)], WALL_MS)
    while world.do_chunk(1, 0):
        pass
    a.commit([write(3, x=b"3"), write(1, x=b"1"), write(2, x=b"2"), write(3, y=b"4")], WALL_MS)
    assert world.do_chunk(1, 0)
    assert b.cursors()[NODE_A] == (3, 5, 7)
    world.settle()
    assert sessions_of(b) == sessions_of(a)
