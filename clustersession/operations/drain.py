"""Drains this host's node: asks its agent, then waits until the others hold all it wrote."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from clustersession.core.errors import ClusterSessionError
from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import ask_agent
from clustersession.replica.home import NodeHome
from clustersession.wire.local import Operation

LOOK_INTERVAL_S = 0.1
_PRESENT = ("alive", "suspect")


class NoAgent(ClusterSessionError):
    """The node has no agent, so there is nothing to drain."""


class Drain(NamedTuple):
    """Says how far a drain is.

    peers: how many other nodes are there.
    behind: by route, how many of our changes a node that is there has not confirmed; those with
        none are left out.
    phase: what the node is in; users only move away when it is "draining".
    """

    route: str
    phase: str
    peers: int
    behind: dict[str, int]

    @property
    def done(self) -> bool:
        """Tell whether every node that is there holds all we wrote, and users move away."""
        return self.phase == "draining" and not self.behind


def drain(home: NodeHome, timeout_s: float, on_progress: Callable[[Drain], None]) -> Drain:
    """Drain the node and return how far that is when it is done or the time is over.

    ``on_progress`` hears of every change. The node keeps draining either way. Raises NoAgent.
    """
    give_up_at_s = time.monotonic() + timeout_s
    shown: Drain | None = None
    try:
        ask_agent(home, Operation.DRAIN)
        while True:
            found = _look(ask_agent(home, Operation.STATUS))
            if found != shown:
                on_progress(found)
                shown = found
            left_s = give_up_at_s - time.monotonic()
            if found.done or left_s <= 0:
                return found
            time.sleep(min(LOOK_INTERVAL_S, left_s))
    except AgentGone:
        raise NoAgent(
            f"the node in {home.directory} has no agent, so no other node knows of it"
        ) from None


def _look(status: dict[str, Any]) -> Drain:
    present = [m for m in status["members"] if m["status"] in _PRESENT]
    behind = {m["route"]: m["behind_us"] for m in present if m["behind_us"]}
    return Drain(status["route"], status["phase"], len(present), behind)
