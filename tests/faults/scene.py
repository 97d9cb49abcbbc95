"""What a fault is, and what it has at hand when it happens."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from tests.faults.cluster import Cluster, FaultNode


@dataclass(slots=True)
class Episode:
    """One time that one node was not what it should be. Wall seconds."""

    route: str
    began_s: float
    ended_s: float = float("inf")


@dataclass(slots=True)
class Scene:
    """A running cluster under load, and the node it will happen to. ``brief`` repeats less."""

    cluster: Cluster
    victim: FaultNode
    chance: random.Random
    brief: bool = False
    episodes: list[Episode] = field(default_factory=list)

    @contextlib.contextmanager
    def episode(self, node: FaultNode) -> Iterator[None]:
        """Note when it began and ended."""
        self.episodes.append(Episode(node.route, time.time()))
        yield
        self.episodes[-1].ended_s = time.time()


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as data.

    loses: whether the others must log that they lost the node ("yes"), must not ("no"), or may.
    own_risk: the node's own users may suffer: the strict judgement leaves out sessions it served.
    may_fail: the node may answer 500 until it is restarted. converges: replicas are equal again.
    padding_bytes: carried by every value of the load. busy: as much load as the machine bears, for
    faults that last an instant. needs: programs beyond iproute2.
    """

    name: str
    what: str
    inject: Callable[[Scene], None]
    loses: Literal["yes", "no", "may"] = "may"
    own_risk: bool = False
    may_fail: bool = False
    converges: bool = True
    padding_bytes: int = 20
    busy: bool = False
    victim_state_mib: int = 64
    needs: tuple[str, ...] = ()
