"""A short campaign of seeded plans, that it took every rare path, and the tools around it."""

from dataclasses import replace

import pytest

from tests.simulation.drawing import plan_of, plan_with_store
from tests.simulation.ledger import Fact, Ledger, Violation
from tests.simulation.plan import Plan
from tests.simulation.shorten import shorten
from tests.simulation.story import run
from tests.simulation.swarm import campaign

SEEDS = range(400)
SEEDS_WITH_STORE = range(300)
RARE_PATHS = {
    "collection held against its requests",
    "death noticed in time",
    "failover rewrote a route",
    "gap repaired",
    "late delta under a tombstone",
    "node that lost its past began again",
    "probe saved a slow member",
    "recovery given up",
    "recovery waited for members",
    "repaired after a death",
    "repaired by anti-entropy",
    "session ended by a revocation that met it",
    "session fetched from a peer",
    "sessions recovered",
    "what a client has seen was there",
    "snapshot resumed with another donor",
    "suspicion refuted",
    "tie broken by node id",
    "tombstone collected",
    "write that waited in vain",
}
RARE_PATHS_WITH_STORE = {
    "beat answered in short",
    "collection held against its requests",
    "end learned by coming back",
    "failover rewrote a route",
    "node that lost its past began again",
    "session ended by a revocation that met it",
    "session fetched from a peer",
    "silent store dropped",
    "store told what it had forgotten",
    "store wanted a whole copy",
    "tombstone collected",
    "what a client has seen was there",
    "write that waited in vain",
}


@pytest.mark.timeout(300)
def test_plans_with_a_store_hold_and_take_every_rare_path() -> None:
    *_, tally = campaign(SEEDS_WITH_STORE, jobs=2, draw=plan_with_store)
    assert tally.findings == []
    assert {path for path in RARE_PATHS_WITH_STORE if not tally.marks[path]} == set()


@pytest.mark.timeout(300)
def test_seeded_plans_hold_and_take_every_rare_path() -> None:
    *_, tally = campaign(SEEDS, jobs=2)
    assert tally.findings == []
    assert tally.seeds == len(SEEDS)
    assert {path for path in RARE_PATHS if not tally.marks[path]} == set()


def test_with_a_store_a_death_is_noticed_by_silence() -> None:
    report = run(Plan(store=True, steps=[["wait", 1000.0], ["kill", 1], ["wait", 8000.0]]))
    assert report.marks["death noticed in time"] == 2


def test_a_seed_always_stands_for_the_same_plan() -> None:
    assert plan_of(4711) == plan_of(4711)
    assert plan_of(4711) != plan_of(4712)
    assert any(plan_of(seed).is_harmless for seed in range(50))


def test_a_failing_plan_is_shortened_to_what_matters() -> None:
    steps = [["wait", float(number)] for number in range(40)]

    def fails(plan: Plan) -> bool:
        return ["wait", 7.0] in plan.steps and ["wait", 31.0] in plan.steps

    short = shorten(replace(Plan(), steps=steps), fails)
    assert short.steps == [["wait", 7.0], ["wait", 31.0]]


def test_a_stamp_that_goes_back_is_noticed() -> None:
    ledger = Ledger()
    store = ledger.new_store("a")
    ledger.add(Fact("key", (2, b"node"), 1, store, 0.0))
    with pytest.raises(Violation, match="used stamp 2 after 2"):
        ledger.add(Fact("key", (2, b"node"), 2, store, 0.0))


def test_what_must_survive_follows_from_who_was_lost() -> None:
    ledger = Ledger()
    one, two, three = (ledger.new_store(host) for host in "abc")
    alone = Fact("key", (1, b"a"), 1, one, 0.0)
    held_by_two = Fact("key", (2, b"a"), 2, one, 0.0)
    ledger.add(alone)
    ledger.add(held_by_two)
    ledger.confirmed(one, b"a", range(2, 3), 1)
    assert alone.surely_there
    ledger.lose(one, 1.0)
    assert not alone.surely_there
    assert held_by_two.surely_there
    ledger.calm()
    ledger.lose(two, 2.0)
    assert held_by_two.surely_there
    ledger.lose(three, 3.0)
    assert not held_by_two.surely_there
