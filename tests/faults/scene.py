"""What a fault is, and what it has at hand when it happens."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from tests.faults.cluster import Cluster, FaultNode
from tests.faults.history import Operation
from tests.faults.store import STORE, FaultStore

BACK_WITHIN_S = 5.0
"""How long requests may know only what their node holds after the store or the agent is back: the
circuit breaker of a worker stays open for so long, and the pauses between attempts are shorter.
"""


@dataclass(slots=True)
class Episode:
    """One time that one node, or the store, was not what it should be. Wall seconds."""

    route: str
    began_s: float
    ended_s: float = float("inf")


@dataclass(slots=True)
class Scene:
    """A running cluster under load, and the node it will happen to. ``brief`` repeats less.

    absences: times besides the episodes when the store, or a node's agent, was not there.
    """

    cluster: Cluster
    victim: FaultNode
    chance: random.Random
    brief: bool = False
    episodes: list[Episode] = field(default_factory=list)
    absences: list[Episode] = field(default_factory=list)

    @property
    def store(self) -> FaultStore:
        """The store, where there is one."""
        assert self.cluster.store is not None
        return self.cluster.store

    @contextlib.contextmanager
    def episode(self, node: FaultNode | None = None) -> Iterator[None]:
        """Note when it began and ended; without a node it is the store's."""
        episode = Episode(STORE if node is None else node.route, time.time())
        self.episodes.append(episode)
        yield
        episode.ended_s = time.time()

    def may_be_unknown(self, operation: Operation) -> bool:
        """Whether the store, or the agent of the node that was asked, may have been away."""
        until_s = operation.began_s + operation.took_s
        return any(
            away.route in (STORE, operation.node)
            and away.began_s <= until_s and operation.began_s <= away.ended_s + BACK_WITHIN_S
            for away in (*self.episodes, *self.absences)
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as data.

    loses: whether the others must log that they lost the node, or all that they lost the store
    ("yes"), must not ("no"), or may. of_the_store: it happens to nobody else, so that no node may
    be lost for it and no request be cut off. guests: while the store or a node is away, sessions
    may be unknown to who does not hold them. own_risk: the node's own users may suffer: the strict
    judgement leaves out sessions it served. may_fail: the node may answer 500 until it is
    restarted. converges: replicas are equal again.
    padding_bytes: carried by every value of the load. busy: as much load as the machine bears, for
    faults that last an instant. needs: programs beyond iproute2.
    """

    name: str
    what: str
    inject: Callable[[Scene], None]
    loses: Literal["yes", "no", "may"] = "may"
    of_the_store: bool = False
    guests: bool = False
    own_risk: bool = False
    may_fail: bool = False
    converges: bool = True
    padding_bytes: int = 20
    busy: bool = False
    victim_state_mib: int = 64
    needs: tuple[str, ...] = ()
