"""A soak: nodes, agents, workers and the store are killed at random, whatever else is down."""

import time
from collections.abc import Callable
from functools import partial

from tests.faults.cluster import FaultNode, pause
from tests.faults.scene import Episode, Fault, Scene
from tests.faults.store import STORE
from tests.support.processes import kill_hard

INTERVAL_S = (0.1, 2.0)
DOWN_S = (0.1, 4.0)
VICTIMS = {"node": 2, "agent": 3, "worker": 3, "store": 2}
"""What is killed, and how often in ten."""


class Soak:
    """Kills until it is over. Nothing loses its files, so nothing acknowledged may be lost.

    _due: what is down, and when and how it comes back; _absences: since when it has been.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._chance = scene.chance
        self._due: dict[str, tuple[float, Callable[[], None]]] = {}
        self._absences: dict[str, Episode] = {}
        self.killed = dict.fromkeys(VICTIMS, 0)

    def run(self, seconds: float) -> None:
        """Kill for so long; in the end everything is started again."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            pause(self._chance.uniform(*INTERVAL_S))
            self._bring_back(time.monotonic())
            [what] = self._chance.choices([*VICTIMS], [*VICTIMS.values()])
            self.killed[what] += self._kill(what, self._chance.choice(self._scene.cluster.nodes))
        self._bring_back(float("inf"))

    def _kill(self, what: str, node: FaultNode) -> bool:
        """Whether there was one."""
        store = self._scene.store
        if what == "store":
            return self._take_down(STORE, store.kill, store.start)
        if node.route in self._due:
            return False
        if what == "node":
            return self._take_down(node.route, node.kill, node.start)
        if what == "agent":
            now_s = time.time()
            self._scene.absences.append(Episode(node.route, now_s, now_s))
            return node.kill_agent()
        workers = node.status()["workers"]
        if workers:
            kill_hard([self._chance.choice(workers)])
        return bool(workers)

    def _take_down(self, name: str, kill: Callable[[], None], start: Callable[[], None]) -> bool:
        if name in self._due:
            return False
        self._absences[name] = Episode(name, time.time())
        self._scene.absences.append(self._absences[name])
        kill()
        self._due[name] = time.monotonic() + self._chance.uniform(*DOWN_S), start
        return True

    def _bring_back(self, now_s: float) -> None:
        for name, (at_s, start) in [*self._due.items()]:
            if at_s <= now_s:
                del self._due[name]
                start()
                self._absences.pop(name).ended_s = time.time()


def _soak(scene: Scene, seconds: float) -> None:
    soak = Soak(scene)
    soak.run(seconds)
    print("# killed: " + ", ".join(f"{n} {what}" for what, n in soak.killed.items()), flush=True)


def soak_for(seconds: float) -> Fault:
    """The soak as a fault."""
    return Fault("soak", f"kills at random for {seconds:.0f} s", partial(_soak, seconds=seconds),
                 guests=True)
