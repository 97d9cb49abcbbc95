"""Values that merge, written on several nodes at once: nothing is lost, and all nodes agree."""

from typing import Any

import pytest

from clustersession import Counter, MergingDict, MergingList, MergingSet
from clustersession.session.session import Session
from tests.node.world import World, equal, formed
from tests.session.fakes import World as Sessions

PAIRS = 60


class Writers:
    """Sessions over the replicas of nodes; each writer is a worker of its own."""

    def __init__(self, world: World, names: str) -> None:
        self.world = world
        self.workers = [(name, self._worker(name)) for name in names]
        self.cookie = ""

    def _worker(self, name: str) -> Sessions:
        worker = Sessions()
        worker.use(self.world.nodes[name].replica)
        return worker

    def open(self, name: str, worker: Sessions) -> Session:
        worker.now_ms = self.world.at(self.world.nodes[name]).wall_ms
        return worker.open([self.cookie] if self.cookie else [])

    def begin(self) -> None:
        name, worker = self.workers[0]
        session = self.open(name, worker)
        session.update(l=MergingList(), s=MergingSet(), d=MergingDict(), c=Counter())
        worker.commit(session)
        self.cookie = f"{session.sid}.a"
        self.world.feed_moved(name)
        self.world.run_until(lambda: equal(self.world))

    def write_at_once(self, number: int) -> None:
        opened = [(*each, self.open(*each)) for each in self.workers]
        for index, (_, _, session) in enumerate(opened):
            what = f"{number}.{index}"
            session["l"].append({"item": what})
            session["s"].add(what)
            session["d"][what] = number
            session["c"] += index + 1
        for name, worker, session in opened:
            worker.commit(session)
            self.world.feed_moved(name)

    def found(self) -> list[dict[str, Any]]:
        return [dict(self.open(*each)) for each in self.workers]


@pytest.mark.parametrize(("names", "cut"), [("aa", False), ("ab", False), ("ab", True)])
def test_nothing_is_lost(names: str, cut: bool) -> None:
    world = formed("abc")
    writers = Writers(world, names)
    writers.begin()
    for number in range(PAIRS):
        if cut and number == PAIRS // 4:
            world.partition("a", "b")
            world.partition("b", "c")
        writers.write_at_once(number)
        world.run(0.02)
    world.heal()
    world.run_until(lambda: equal(world), 60.0)
    everything = {f"{number}.{index}" for number in range(PAIRS) for index in range(2)}
    first, second = writers.found()
    assert first == second
    assert sorted(item["item"] for item in first["l"]) == sorted(everything)
    assert first["s"] == set(first["d"]) == everything
    assert first["c"] == 3 * PAIRS


def test_a_deletion_behind_a_partition_takes_what_it_has_seen() -> None:
    world = formed("ab")
    writers = Writers(world, "ab")
    writers.begin()
    writers.write_at_once(0)
    world.run_until(lambda: equal(world))
    world.partition("a", "b")
    (_, first), (_, second) = writers.workers
    emptied, added = writers.open("a", first), writers.open("b", second)
    emptied.clear()
    emptied["other"] = 1
    added["l"].append("new")
    added["c"] += 5
    for name, worker, session in (("b", second, added), ("a", first, emptied)):
        worker.commit(session)
        world.feed_moved(name)
    world.heal()
    world.run_until(lambda: equal(world), 60.0)
    for found in writers.found():
        assert found == {"other": 1, "l": ["new"], "c": 5}
