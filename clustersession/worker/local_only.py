"""Keeps the replica in order, from its workers, on a node that replicates to nobody."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from clustersession.core.errors import ReplicaError, ReplicaUnusable
from clustersession.replica.replica import Replica
from clustersession.replica.results import Stored
from clustersession.replica.sweeping import reclaim_in_parts, sweep_in_parts
from clustersession.session.cluster_port import NOTHING_MORE, Subscription
from clustersession.worker.host_clock import HostClock

if TYPE_CHECKING:
    from clustersession.worker.local_journal import LocalJournal

SWEEP_INTERVAL_S = 5.0
SWEEP_AGAIN_S = 0.1
SWEEP_LIMIT = 100
READER_CHECK_SWEEPS = 12

logger = logging.getLogger("clustersession")


class _NeverApart:
    """Implements ``session.cluster_port.Contact`` where there are no peers."""

    apart = False

    def is_apart(self) -> bool:
        """Return False: nobody else ends sessions."""
        return False


class LocalOnly:
    """Implements ``session.cluster_port.ClusterPort`` for a worker without an agent.

    Every write is as safe as it gets, and every unknown session is unknown everywhere. After a
    commit it now and then does an agent's chores: only writing makes a replica grow, so after
    writes is soon enough. Each time it is a bounded number of sessions, because a request waits.
    """

    def __init__(
        self,
        route: str,
        replica: Replica,
        clock: HostClock,
        keep_files: Callable[[], None] = lambda: None,
        journal: "LocalJournal | None" = None,
        fetch_timeout_s: float = 0.0,
    ) -> None:
        self._replica = replica
        self._clock = clock
        self._route = route
        self._keep_files = keep_files
        # None where nothing is to survive a power cut.
        self.journal = journal
        self._fetch_timeout_s = fetch_timeout_s
        self.contact = _NeverApart()
        # A node without peers never drains: nobody else could serve.
        self._serving = frozenset({route})
        # When to sweep next, in monotonic seconds: at the first commit, because a process may be
        # short, and so may be all that follow it. A sweep that met its limit is soon followed by
        # another one.
        self._sweep_due_s = time.monotonic()
        # Sweeps so far; every READER_CHECK_SWEEPS-th one also frees what dead processes read, and
        # another one keeps the node's files from cleaners of old files.
        self._sweeps = 0

    @property
    def route(self) -> str:
        """Return this node's route."""
        return self._route

    def serving_routes(self) -> frozenset[str]:
        """Return our route alone."""
        return self._serving

    def confirm(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        """Return True: there is nobody to wait for, but for ends the disk."""
        self.feed_moved(head)
        if ends and self.journal is not None:
            self.journal.keep_ends(head)
        return True

    async def confirm_async(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        """Do what ``confirm`` does, without blocking the event loop."""
        self.feed_moved(head)
        if ends and self.journal is not None:
            await self.journal.keep_ends_async(head)
        return True

    def gather(self, principal: str) -> bool:
        """Return True: all sessions are here."""
        return True

    async def gather_async(self, principal: str) -> bool:
        """Return True: all sessions are here."""
        return True

    def fetch(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        """Return False: there is nobody to ask, but for what comes out of the journal just now."""
        if self.journal is None or not self.journal.waits():
            return False
        return self.journal.wait_recovered(key, self._fetch_timeout_s)

    async def fetch_async(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        """Do what ``fetch`` does, without blocking the event loop."""
        if self.journal is None or not self.journal.waits():
            return False
        return await self.journal.wait_recovered_async(key, self._fetch_timeout_s)

    async def subscribe(self, key: str, wake: Callable[[], object]) -> Subscription | None:
        """Return None: there is nobody who could tell."""
        return None

    def sweep(self) -> None:
        """Remove expired sessions now: a test has moved the clock, and waits for no other."""
        now_ms = self._clock.earlier_ms()
        while sweep_in_parts(self._replica, now_ms, SWEEP_LIMIT) == SWEEP_LIMIT:
            pass
        while self._reclaim(now_ms) == SWEEP_LIMIT:
            pass

    def _reclaim(self, now_ms: int) -> int:
        """Delete attributes that have expired; return of how many sessions."""
        return len(reclaim_in_parts(self._replica, now_ms, SWEEP_LIMIT, spread=False).states)

    def feed_moved(self, head: int) -> None:
        """Have it be in the journal soon; remove expired sessions, when it is time."""
        if self.journal is not None:
            self.journal.moved()
        now_s = time.monotonic()
        if now_s < self._sweep_due_s:
            return
        self._sweep_due_s = now_s + SWEEP_INTERVAL_S
        self._sweeps += 1
        try:
            # A test that has moved its clock must not remove the sessions of a live node.
            swept = sweep_in_parts(self._replica, self._clock.earlier_ms(), SWEEP_LIMIT)
            if SWEEP_LIMIT in (swept, self._reclaim(self._clock.earlier_ms())):
                self._sweep_due_s = now_s + SWEEP_AGAIN_S
            if self._replica.end_revoked() is not None:
                self._sweep_due_s = now_s + SWEEP_AGAIN_S
            check = getattr(self._replica, "reader_check", None)
            if check is not None and self._sweeps % READER_CHECK_SWEEPS == 0:
                check()
            if self._sweeps % READER_CHECK_SWEEPS == 1:
                self._keep_files()
        except ReplicaUnusable as error:
            logger.error("clustersession: %s", error)
        except ReplicaError:
            # On a full disk even removing needs space; the commit before this one has said so.
            pass
