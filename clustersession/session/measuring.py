"""Measures what a request waits for: fetches, commits and confirmations. All of them pass here.

How long each took is counted. Where tracing is on, each is told to that as well, with nothing of
what a session holds or is called.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from types import TracebackType
from typing import Literal

from clustersession.core.counters import Counters
from clustersession.core.durations import Durations
from clustersession.core.state import Change
from clustersession.replica.replica import Replica
from clustersession.replica.results import Committed, Stored
from clustersession.session.cluster_port import NOTHING_MORE, ClusterPort, Contact, Subscription
from clustersession.session.stored import stored_attributes


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """Says what a trace may know of one step.

    name: which of the three. took_ns: how long it took, until now. outcome: of a fetch "found" or
    "missing", of a commit "stored" or "unchanged" (none of its changes had an effect), of a
    confirmation "confirmed" or "unconfirmed" (not in time); of each "failed", when it raised or
    nobody waited for it any more. size_bytes: what names and values take: of a fetch those of the
    session that is here afterwards, of a commit those that it sets whole (elements are not
    counted), of a confirmation those of the sessions that are to be held. error: the class of what
    was raised, "timeout" for unconfirmed, empty for no error.
    """

    name: Literal["fetch", "commit", "confirm"]
    took_ns: int
    outcome: str
    size_bytes: int
    error: str


Trace = Callable[[MeasuredStep], None]
"""Is told of each step when it is over, by who carried it out. It must not raise."""


class _Running:
    """Measures one step, in a ``with`` block that says how it went and how much it was."""

    __slots__ = ("_began_ns", "_durations", "_name", "_trace", "error", "outcome", "size_bytes")

    def __init__(
        self, name: Literal["fetch", "commit", "confirm"], durations: Durations, trace: Trace | None
    ) -> None:
        self._name, self._durations, self._trace = name, durations, trace
        self.outcome, self.error, self.size_bytes = "failed", "", 0

    def __enter__(self) -> "_Running":
        self._began_ns = perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        took_ns = perf_counter_ns() - self._began_ns
        self._durations.add(took_ns)
        if self._trace is not None:
            if kind is not None:
                self.error = f"{kind.__module__}.{kind.__qualname__}"
            self._trace(
                MeasuredStep(self._name, took_ns, self.outcome, self.size_bytes, self.error)
            )


class MeasuredReplica:
    """Commits to a replica, measured."""

    def __init__(self, replica: Replica, counters: Counters, trace: Trace | None) -> None:
        self._replica = replica
        self._durations, self._trace = counters.commit, trace

    def commit(self, changes: Sequence[Change], wall_ms: int) -> Committed:
        """Do what the replica's ``commit`` does."""
        with _Running("commit", self._durations, self._trace) as step:
            if self._trace is not None:
                step.size_bytes = sum(map(_size_bytes, changes))
            committed = self._replica.commit(changes, wall_ms)
            step.outcome = "stored" if committed.effective else "unchanged"
        return committed


class MeasuredCluster:
    """Is the cluster that it is made for, with fetches and confirmations measured."""

    def __init__(
        self, cluster: ClusterPort, replica: Replica, counters: Counters, trace: Trace | None
    ) -> None:
        self._cluster = cluster
        self._replica = replica
        self._counters, self._trace = counters, trace
        # What is not measured costs no more than it did.
        self.serving_routes = cluster.serving_routes
        self.feed_moved = cluster.feed_moved
        self.gather, self.gather_async = cluster.gather, cluster.gather_async

    @property
    def route(self) -> str:
        """Return this node's route."""
        return self._cluster.route

    @property
    def contact(self) -> Contact:
        """Return what knows whether peers are to be asked for sessions that are here, too."""
        return self._cluster.contact

    def confirm(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        """Do what the cluster's ``confirm`` does."""
        with self._confirmation(stored) as step:
            return _confirmed(step, self._cluster.confirm(head, stored, ends=ends))

    async def confirm_async(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        """Do what ``confirm`` does, without blocking the event loop."""
        with self._confirmation(stored) as step:
            return _confirmed(step, await self._cluster.confirm_async(head, stored, ends=ends))

    def fetch(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        """Do what the cluster's ``fetch`` does."""
        with _Running("fetch", self._counters.fetch, self._trace) as step:
            return self._fetched(step, key, self._cluster.fetch(key, wanted))

    async def fetch_async(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        """Do what ``fetch`` does, without blocking the event loop."""
        with _Running("fetch", self._counters.fetch, self._trace) as step:
            return self._fetched(step, key, await self._cluster.fetch_async(key, wanted))

    async def subscribe(self, key: str, wake: Callable[[], object]) -> Subscription | None:
        """Do what the cluster's ``subscribe`` does."""
        return await self._cluster.subscribe(key, wake)

    def _confirmation(self, stored: Sequence[Stored]) -> _Running:
        step = _Running("confirm", self._counters.confirm, self._trace)
        if self._trace is not None:
            step.size_bytes = sum(stored_attributes(after).data_bytes for _, _, after in stored)
        return step

    def _fetched(self, step: _Running, key: str, found: bool) -> bool:
        step.outcome = "found" if found else "missing"
        if self._trace is not None and (state := self._replica.get(key)) is not None:
            step.size_bytes = stored_attributes(state).data_bytes
        return found


def _size_bytes(change: Change) -> int:
    return sum(len(name) + len(data) for name, data in change.sets.items())


def _confirmed(step: _Running, confirmed: bool) -> bool:
    step.outcome, step.error = ("confirmed", "") if confirmed else ("unconfirmed", "timeout")
    return confirmed
