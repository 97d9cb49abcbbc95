"""Keeps the replica in order, from its workers, on a node that replicates to nobody."""

import logging
import time
from collections.abc import Callable, Mapping

from clustersession.core.errors import ReplicaError, ReplicaUnusable
from clustersession.replica.replica import Replica
from clustersession.replica.sweeping import sweep_in_parts
from clustersession.session.cluster_port import NOTHING_MORE, Subscription
from clustersession.worker.host_clock import HostClock

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
    ) -> None:
        self._replica = replica
        self._clock = clock
        self._route = route
        self._keep_files = keep_files
        self.contact = _NeverApart()
        # A node without peers never drains: nobody else could serve.
        self._serving = frozenset({route})
        # When to sweep next, in monotonic seconds. A sweep that met its limit is soon followed by
        # another one.
        self._sweep_due_s = time.monotonic() + SWEEP_INTERVAL_S
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

    def confirm(self, head: int) -> bool:
        """Return True at once: there is nobody to wait for."""
        self.feed_moved(head)
        return True

    async def confirm_async(self, head: int) -> bool:
        """Return True at once: there is nobody to wait for."""
        self.feed_moved(head)
        return True

    def fetch(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        """Return False: there is nobody to ask."""
        return False

    async def fetch_async(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        """Return False: there is nobody to ask."""
        return False

    async def subscribe(self, key: str, wake: Callable[[], object]) -> Subscription | None:
        """Return None: there is nobody who could tell."""
        return None

    def feed_moved(self, head: int) -> None:
        """Remove expired sessions, when it is time."""
        now_s = time.monotonic()
        if now_s < self._sweep_due_s:
            return
        self._sweep_due_s = now_s + SWEEP_INTERVAL_S
        self._sweeps += 1
        try:
            # A test that has moved its clock must not remove the sessions of a live node.
            swept = sweep_in_parts(self._replica, self._clock.earlier_ms(), SWEEP_LIMIT)
            if swept == SWEEP_LIMIT:
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
