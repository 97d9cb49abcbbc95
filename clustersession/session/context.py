"""Holds what all visits of one application in one process share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from clustersession.core.counters import Counters
from clustersession.net.async_library import pause
from clustersession.replica.replica import Replica
from clustersession.session.causal import CausalReads
from clustersession.session.cluster_port import ClusterPort
from clustersession.session.commits import SessionCommits
from clustersession.session.events import Events
from clustersession.session.lifetimes import Lifetimes
from clustersession.session.local_attributes import LocalAttributes
from clustersession.session.measuring import MeasuredCluster, MeasuredReplica, Trace
from clustersession.session.token import IdSigner
from clustersession.session.warnings import Warnings
from clustersession.settings.settings import Settings


@dataclass(slots=True)
class SessionContext:
    """Holds what visits share; made by the manager, no field is ever set to something else.

    Attributes:
        settings: complete, with route and secret.
        replica: this node's copy of every session.
        signer: makes the ids of new sessions.
        cluster: this node's side towards its peers; what is asked of it is measured.
        now_ms: wall-clock milliseconds.
        random_bytes: what ids are made of.
        lifetimes: how long sessions and cookies live.
        pause_async: lets others run for some seconds.
        events: the application's callbacks, and what they are still to be told.
        trace: is told of what is measured; None: nobody is.
        counters: what the agent is told of.
        writer: commits to the replica, measured.
        warnings: what goes wrong without failing a request.
        commits: where every change goes, and what waits for peers.
        local: which attributes stay on this node.
        sessions_leave: the agent may let sessions leave for a store, those of open requests too.
        causal: waits for copies that a client has seen; None without ``consistency="causal"``.
    """

    settings: Settings
    replica: Replica
    signer: IdSigner
    cluster: ClusterPort
    now_ms: Callable[[], int]
    random_bytes: Callable[[int], bytes]
    lifetimes: Lifetimes
    events: Events
    pause_async: Callable[[float], Awaitable[object]] = pause
    trace: Trace | None = None
    counters: Counters = field(default_factory=Counters)
    writer: MeasuredReplica = field(init=False)
    warnings: Warnings = field(init=False)
    commits: SessionCommits = field(init=False)
    local: LocalAttributes = field(init=False)
    sessions_leave: bool = field(init=False)
    causal: CausalReads | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.events.counters = self.counters
        self.cluster = MeasuredCluster(self.cluster, self.replica, self.counters, self.trace)
        self.writer = MeasuredReplica(self.replica, self.counters, self.trace)
        self.warnings = Warnings(self.settings, self.counters, self.now_ms)
        self.commits = SessionCommits(
            self.settings, self.writer, self.cluster, self.counters, self.events, self.warnings,
            self.now_ms,
        )
        self.local = LocalAttributes(self.settings.local_attributes)
        self.sessions_leave = self.settings.effective_near_cache_idle_s > 0
        if self.settings.consistency == "causal":
            self.causal = CausalReads(self.replica, self.counters, self.now_ms)
