"""Plans drawn at random: writes, ends, kills, wipes, partitions; then heal, and all must agree."""

import os
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clustersession.node import outputs as out
from tests.node.test_engine import key
from tests.node.world import World

NAMES = "abc"
EXAMPLES = int(os.environ.get("RANDOM_PLANS", "100"))

names = st.sampled_from(NAMES)
keys = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("write"), names, keys),
    st.tuples(st.just("write"), names, keys),
    st.tuples(st.just("end"), names, keys),
    st.tuples(st.just("kill"), names),
    st.tuples(st.just("restart"), names),
    st.tuples(st.just("wipe"), names),
    st.tuples(st.just("partition"), names, names),
    st.tuples(st.just("deafen"), names, names),
    st.tuples(st.just("heal")),
    st.tuples(st.just("reset"), names, names),
    st.tuples(st.just("lose"), st.integers(1, 5)),
    st.tuples(st.just("run"), st.sampled_from([0.0005, 0.0011, 0.002, 0.01, 0.1, 0.7, 5.0])),
    st.tuples(st.just("run"), st.sampled_from([0.0005, 0.0011, 0.002, 0.01])),
)


@dataclass
class Story:
    """A world, and what must hold in it whatever happened."""

    world: World
    created: set[int] = field(default_factory=set)
    writes: list[tuple[str, int, str, int]] = field(default_factory=list)
    ends: list[tuple[str, int, int]] = field(default_factory=list)
    wiped: set[str] = field(default_factory=set)
    acknowledged: dict[int, int] = field(default_factory=dict)
    to_lose: int = 0

    def lose(self, sender: str, receiver: str) -> bool:
        self.to_lose -= sender != receiver
        return self.to_lose >= 0 and sender != receiver

    def up(self, name: str) -> bool:
        return self.world.nodes[name].engine is not None

    def agree(self) -> bool:
        nodes = self.world.nodes.values()
        return len({node.replica.digests() for node in nodes}) == 1

    def calm(self) -> bool:
        """Nobody is down, cut off or loading, and all hold the same."""
        return (
            not self.world.cut and not self.world.deaf and self.agree()
            and all(self.up(n) and self.world.nodes[n].phase() == "READY" for n in NAMES)
        )

    def tell(self, step: tuple) -> None:
        world = self.world
        if self.wiped and self.calm():
            self.wiped.clear()
        match step:
            case ("write", name, number) if self.up(name):
                held = world.values(name, key(number)) is not None
                if held or number not in self.created:
                    attribute = f"w{len(self.writes)}"
                    head = world.write(
                        name, key(number), create=not held, **{attribute: "x"}
                    )
                    self.created.add(number)
                    token = world.wait(name, head)
                    self.writes.append((name, number, attribute, token))
            case ("end", name, number) if self.up(name):
                if world.values(name, key(number)) is not None:
                    world.end(name, key(number))
                    token = world.wait(name, world.nodes[name].replica.head())
                    self.ends.append((name, number, token))
            case ("kill", name) if self.up(name):
                world.kill(name)
            case ("restart", name) if not self.up(name):
                world.start(name)
            case ("wipe", name) if not self.wiped:
                self.wiped.add(name)
                self.note_answers()
                if self.up(name):
                    world.kill(name)
                world.wipe(name)
                self.forget(name)
            case ("partition", one, two) if one != two:
                world.partition(one, two)
            case ("deafen", one, two) if one != two:
                world.make_deaf(one, two)
            case ("reset", one, two) if one != two:
                if two in world.nodes[one].links:
                    world.reset(one, two)
            case ("heal",):
                world.heal()
            case ("lose", count):
                self.to_lose = count
            case ("run", seconds):
                world.run(seconds)

    def note_answers(self) -> None:
        for node in self.world.nodes.values():
            for event in node.seen(out.Acknowledged):
                self.acknowledged[event.token] = event.confirmations

    def forget(self, name: str) -> None:
        """What only a wiped node held was never promised to last."""
        known = self.acknowledged
        self.writes = [w for w in self.writes if w[0] != name or known.get(w[3], 0) >= 1]
        self.ends = [e for e in self.ends if e[0] != name or known.get(e[2], 0) >= 1]

    def conclude(self) -> None:
        world = self.world
        world.heal()
        self.to_lose = 0
        for name in NAMES:
            if not self.up(name):
                world.start(name)
        world.run(15)
        ended = {number for _, number, _ in self.ends}
        for name in NAMES:
            node = world.nodes[name]
            assert node.phase() == "READY"
            members = {m.identity.route: m.status.value for m in node.running.membership.present()}
            assert members == dict.fromkeys(set(NAMES) - {name}, "alive"), name
            for number in ended:
                assert world.values(name, key(number)) is None, f"{number} lives on {name}"
        assert self.agree()
        states = [
            [world.nodes[name].replica.get(key(number)) for number in range(4)] for name in NAMES
        ]
        assert states[0] == states[1] == states[2]
        for _, number, attribute, _ in self.writes:
            values = world.values("a", key(number))
            assert number in ended or values is None or attribute in values
            if values is None and number not in ended:
                state = world.nodes["a"].replica.get(key(number))
                assert state is not None, f"{attribute} of {number} is lost"
                assert state.ended is not None, f"{attribute} of {number} is lost"


@pytest.mark.timeout(0 if "RANDOM_PLANS" in os.environ else 60)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["tcp", "multicast"]), st.lists(steps, min_size=3, max_size=40))
def test_whatever_happened_all_agree_in_the_end(carrier: str, plan: list[tuple]) -> None:
    world = World(NAMES, carrier=carrier)
    story = Story(world)
    world.lose_datagram = story.lose
    world.start()
    world.run(1)
    for step in plan:
        story.tell(step)
    story.conclude()
