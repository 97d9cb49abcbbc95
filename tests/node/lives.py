"""What scripts of connections and lives stand on: a node over memory, and links that remember."""

import itertools
from dataclasses import dataclass, field

from clustersession.core.identity import Address, Identity, first_incarnation
from clustersession.node.effects import Effect
from clustersession.node.life import LINKS_MAX, Chance, Life
from clustersession.node.moment import Moment
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings

OWN = Address("10.0.0.1", 4000)
WALL_MS = 1_800_000_000_000


@dataclass(eq=False)
class FakeLink:
    """A link that remembers what was done to it, in words."""

    identity: Identity
    done: list[str] = field(default_factory=list)

    def send(self, payload: bytes) -> None:
        """Remember that something was sent."""
        self.done.append("sent")

    def close(self, reason: str) -> None:
        """Remember why."""
        self.done.append(f"closed: {reason}")

    def abort(self, reason: str) -> None:
        """Remember why."""
        self.done.append(f"aborted: {reason}")


def at(now_s: float = 0.0) -> Moment:
    return Moment(now_s, WALL_MS + int(now_s * 1000))


def peer(name: str = "b", start: int = 1) -> Identity:
    """Who a peer says it is in the life that a start began."""
    number = ord(name) - ord("a") + 1
    node = name.encode() * 8
    return Identity(node, first_incarnation(start), name, Address(f"10.0.0.{number}", 4000))


def life_over(replica: Replica | None = None, links_max: int = LINKS_MAX) -> Life[FakeLink]:
    """A life that has been started, its first effects taken."""
    replica = replica or open_memory(b"a" * 8, clock_skew_ms_max=300_000)
    nodes = (b"%d" % number * 8 for number in itertools.count(1))
    chance = Chance(lambda below: 0, lambda: 0, lambda: next(nodes))
    settings = Settings(distributable=True, route="a", seeds=("10.0.0.9:4000",))
    life: Life[FakeLink] = Life(
        settings, replica, OWN, chance, at(), links_max=links_max
    )
    life.engine.start(at())
    taken(life)
    return life


def taken(life: Life[FakeLink], now_s: float = 0.0) -> list[Effect]:
    """What a driver would have to carry out now."""
    return list(life.effects(at(now_s)))
