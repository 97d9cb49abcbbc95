"""A node that replicates to nobody: its workers keep the replica in order themselves."""

import time

from clustersession.core.errors import ReplicaError
from clustersession.replica.ends import sweep_in_parts
from clustersession.replica.protocol import Replica
from clustersession.session.cluster_port import LocalOnly

SWEEP_INTERVAL_S = 5.0
SWEEP_AGAIN_S = 0.1
SWEEP_LIMIT = 100
READER_CHECK_SWEEPS = 12


class Alone(LocalOnly):
    """The port of a worker without an agent. After a commit it now and then does an agent's chores.

    Only writing makes a replica grow, so after writes is soon enough. Each time it is a bounded
    number of sessions: a request waits for it.
    """

    def __init__(self, route: str, replica: Replica) -> None:
        super().__init__(route)
        self._replica = replica
        self._due_s = time.monotonic() + SWEEP_INTERVAL_S
        self._sweeps = 0

    def confirm(self, head: int) -> bool:
        """There is nobody to wait for."""
        self.feed_moved(head)
        return True

    async def confirm_async(self, head: int) -> bool:
        """There is nobody to wait for."""
        self.feed_moved(head)
        return True

    def feed_moved(self, head: int) -> None:
        """Remove expired sessions, when it is time."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + SWEEP_INTERVAL_S
        self._sweeps += 1
        try:
            swept = sweep_in_parts(self._replica, time.time_ns() // 1_000_000, SWEEP_LIMIT)
            if swept == SWEEP_LIMIT:
                self._due_s = now_s + SWEEP_AGAIN_S
            check = getattr(self._replica, "reader_check", None)
            if check is not None and self._sweeps % READER_CHECK_SWEEPS == 0:
                check()
        except ReplicaError:
            # On a full disk even removing needs space; the commit before this one has said so.
            pass
