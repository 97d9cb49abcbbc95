"""Looks at a node and, through its agent, at the cluster; gives plain values.

A ``NodeAccess`` is for the command line, beside the processes that serve; a ``SharedAccess`` for
code inside a process that serves, which must not open the replica a second time.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from clustersession.core.errors import ClusterSessionError
from clustersession.core.identity import short
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.operations.nodes import newest_events, replica, status
from clustersession.replica.home import NodeHome
from clustersession.replica.replica import Replica
from clustersession.session.users import last_writer
from clustersession.settings.settings import Settings
from clustersession.worker.completion import complete
from clustersession.worker.places import node_home
from clustersession.worker.runtime import Runtime

SAMPLE_SESSIONS = 1000
"""Keys are random, so the first thousand in their order are a fair sample of all."""
SAMPLE_AGE_MS_MAX = 5000


class Access(Protocol):
    """Gives a node to look at. ``settings``: with the secrets, where those are known."""

    @property
    def settings(self) -> Settings: ...

    @property
    def home(self) -> NodeHome: ...

    def replica(self) -> AbstractContextManager[Replica]:
        """Give the node's replica for a block. Raises ReplicaUnusable."""
        ...


class NodeAccess:
    """Gives a node of this host to a process that is no part of it. Safe under threads.

    State: ``_lock``, so that the replica is open once at a time in this process.
    """

    def __init__(self, settings: Settings, home: NodeHome) -> None:
        self.settings = settings
        self.home = home
        self._lock = threading.Lock()

    @contextmanager
    def replica(self) -> Iterator[Replica]:
        # Not kept open: the last process that serves could then not mark the replica clean.
        with self._lock, replica(self.home) as opened:
            yield opened


class SharedAccess:
    """Gives the node that this process serves from. Opens nothing before it is asked.

    State: ``_completed``, the settings with the secret, and ``_home``, once they were asked for.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._completed: Settings | None = None
        self._home: NodeHome | None = None

    @property
    def settings(self) -> Settings:
        if self._completed is None:
            self._completed = complete(self._runtime.settings)
        return self._completed

    @property
    def home(self) -> NodeHome:
        if self._home is None:
            self._home = node_home(self.settings)
        return self._home

    @contextmanager
    def replica(self) -> Iterator[Replica]:
        yield self._runtime.manager().replica


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Holds what one look found.

    status: as ``clustersession status`` has it; empty when there is not even that. events: the
    agent's newest log lines, [wall ms, level, text], oldest first. last_written: live sessions by
    the node, 8 hexadecimal digits, that wrote each one last, estimated from ``sampled`` of them
    at ``sampled_at_ms``.
    trouble: why something is missing, for people; empty when nothing is.
    """

    at_ms: int
    status: dict[str, Any]
    events: list[list[Any]] = field(default_factory=list)
    last_written: dict[str, int] = field(default_factory=dict)
    sampled: int = 0
    sampled_at_ms: int = 0
    trouble: str = ""


def look(access: Access, before: Snapshot | None = None) -> Snapshot:
    """Look once. Never raises for a node that is in trouble: that is what people look for.

    What costs most is taken over from a look ``before`` that is not too old.
    """
    at_ms = time.time_ns() // 1_000_000
    try:
        found = status(access.home, access.replica)
        events = newest_events(access.home)
        if before is not None and at_ms - before.sampled_at_ms < SAMPLE_AGE_MS_MAX:
            written, sampled, sampled_at_ms = (
                before.last_written, before.sampled, before.sampled_at_ms
            )
        else:
            with access.replica() as opened:
                written, sampled = last_written(opened, found.get("sessions", 0))
            sampled_at_ms = at_ms
    except (ClusterSessionError, TimeoutError, OSError) as error:
        return Snapshot(at_ms, {}, trouble=str(error))
    trouble = "" if "agent_pid" in found else (
        "This node has no agent: none of its workers runs, or the agent could not start. What is "
        "shown is read from the replica on disk."
    )
    return Snapshot(at_ms, found, events, written, sampled, sampled_at_ms, trouble)


def last_written(replica: Replica, sessions: int) -> tuple[dict[str, int], int]:
    """Estimate how many sessions each node wrote last, and tell from how many."""
    counts: Counter[str] = Counter()
    for key in replica.keys("", SAMPLE_SESSIONS):
        state = None if key.startswith(RESERVED_PREFIX) else replica.get(key)
        if state is not None and state.ended is None:
            counts[short(last_writer(state))] += 1
    sampled = counts.total()
    scale = max(1.0, sessions / sampled) if sampled == SAMPLE_SESSIONS else 1.0
    return {node: round(count * scale) for node, count in counts.items()}, sampled
