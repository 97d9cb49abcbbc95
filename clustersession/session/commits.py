"""Commits changes to the replica, and waits until peers hold them."""

import logging
from collections.abc import Callable, Sequence

from clustersession.core.counters import Counters
from clustersession.core.errors import ReplicaFull
from clustersession.core.ids import log_name
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import ENDED_INVALIDATED, ENDED_REPLACED, Change
from clustersession.replica.results import Committed
from clustersession.session.cluster_port import ClusterPort
from clustersession.session.events import Events, commit_with_events
from clustersession.session.measuring import MeasuredReplica
from clustersession.session.warnings import Warnings
from clustersession.settings.settings import Settings

_log = logging.getLogger("clustersession")

FULL_LOG_INTERVAL_MS = 10_000
OWED_ENDS_MAX = 10_000
_OWED = (ENDED_INVALIDATED, ENDED_REPLACED)


class SessionCommits:
    """Commits changes, tells the agent or waits for peers, and copes with a full replica.

    Attributes:
        owed_ends: ends that there was no space to store, by key; at most OWED_ENDS_MAX. Each
            request that writes tries them again, and meanwhile ``open`` takes their sessions for
            ended in this process.
        _full_logged_ms: when the log said last that there is no space; once in
            FULL_LOG_INTERVAL_MS is enough.
    """

    def __init__(
        self,
        settings: Settings,
        writer: MeasuredReplica,
        cluster: ClusterPort,
        counters: Counters,
        events: Events,
        warnings: Warnings,
        now_ms: Callable[[], int],
    ) -> None:
        self._waits = settings.ack != "none"
        self._waits_for_ends = settings.effective_durability != "none"
        self._writer = writer
        self._cluster = cluster
        self._counters = counters
        self._events = events
        self._warnings = warnings
        self._now_ms = now_ms
        self.owed_ends: dict[str, Change] = {}
        self._full_logged_ms = -FULL_LOG_INTERVAL_MS

    def commit(self, changes: Sequence[Change], now_ms: int) -> Committed | None:
        """Commit; None when there is no space: then the request goes on without it."""
        try:
            committed = commit_with_events(self._writer, self._events, changes, now_ms)
        except ReplicaFull as error:
            self._counters.replica_full += 1
            if now_ms - self._full_logged_ms >= FULL_LOG_INTERVAL_MS:
                self._full_logged_ms = now_ms
                _log.error(
                    "no space for sessions, changes are not stored (%d so far): %s",
                    self._counters.replica_full, error,
                )
            self._save_ends(changes, now_ms)
            return None
        if committed.effective:
            self._counters.commits += 1
        return committed

    def feed_moved(self, head: int) -> None:
        """Have the agent send what was committed up to ``head``; nobody waits."""
        self._cluster.feed_moved(head)

    def confirm(self, committed: Committed, *, ends: bool = False) -> None:
        """Wait for peers as ``ack`` asks, and for all of them where sessions ended.

        ``ends``: they did, by commits of which this one is only the last.

        Raises ReplicationFailed if so configured.
        """
        ends = self._waits_for_ends and (ends or _ends_sessions(committed))
        if not (self._waits or ends):
            self._cluster.feed_moved(committed.head)
        elif not self._cluster.confirm(committed.head, committed.stored, ends=ends):
            self._warnings.unconfirmed()

    async def confirm_async(self, committed: Committed, *, ends: bool = False) -> None:
        """Do what ``confirm`` does, without blocking the event loop."""
        ends = self._waits_for_ends and (ends or _ends_sessions(committed))
        if not (self._waits or ends):
            self._cluster.feed_moved(committed.head)
        elif not await self._cluster.confirm_async(committed.head, committed.stored, ends=ends):
            self._warnings.unconfirmed()

    def store_owed_ends(self, now_ms: int) -> None:
        """Try again, one at a time: where there is no space for all, some may fit."""
        for change in list(self.owed_ends.values()):
            committed = self.commit([change], now_ms)
            if committed is None:
                return
            self.owed_ends.pop(change.key, None)
            self._cluster.feed_moved(committed.head)

    def _save_ends(self, changes: Sequence[Change], now_ms: int) -> None:
        """Commit the ends alone: they may fit, because the replica keeps some space for that."""
        ends = [change for change in changes if change.end in _OWED]
        if len(ends) == len(changes):
            for change in ends:
                self._owe(change)
        elif ends and (committed := self.commit(ends, now_ms)) is not None:
            self._cluster.feed_moved(committed.head)

    def _owe(self, change: Change) -> None:
        """Keep an end to try again: unlike on other changes, a user who logged out relies on it."""
        if change.key in self.owed_ends or len(self.owed_ends) >= OWED_ENDS_MAX:
            return
        self.owed_ends[change.key] = change
        _log.error(
            "no space to store that session %s was ended: other processes and nodes still accept "
            "it; tried again at each request to this process", log_name(change.key),
        )


def _ends_sessions(committed: Committed) -> bool:
    return any(
        after.ended is not None or key[0] == RESERVED_PREFIX for key, _, after in committed.stored
    )
