"""A worker that is told to stop goes on serving for a while, so that its users move first.

A server that got SIGTERM takes no new connections, and whoever comes next is refused until the
balancer has noticed. With ``drain_on_stop_s`` the first SIGTERM reaches the agent and not the
server: when all workers of the node have said so, the node drains, and answers name other nodes.
When the time is over the server gets its signal. A second SIGTERM reaches it at once.

This can only be done where the server's handler is Python's and is set before the node starts:
uvicorn and gunicorn are like that. A loop's own ``add_signal_handler`` (hypercorn) sees the signal
whatever a handler does.
"""

import logging
import os
import signal
import threading
import time
from types import FrameType

from clustersession.core.counters import Counters
from clustersession.core.errors import ReplicaError
from clustersession.core.identity import Phase
from clustersession.replica.replica import Replica
from clustersession.worker.agent_client import AgentClient

# Siblings are told within moments of each other; one that is told alone is being recycled.
SIBLINGS_S = 1.0
LOOK_INTERVAL_S = 0.1
DRAINING = Phase.DRAINING.name.lower()

logger = logging.getLogger("clustersession")


class DrainOnStop:
    """What one open node of this process does before the process stops."""

    def __init__(
        self, drain_s: float, port: AgentClient, replica: Replica, counters: Counters
    ) -> None:
        self._drain_s = drain_s
        self._port = port
        self._replica = replica
        self._counters = counters

    def run(self) -> None:
        """Drain, at most for ``drain_s``; on a thread of its own. Never raises."""
        began_s, moved = time.monotonic(), self._counters.failovers
        logger.info(
            "clustersession: told to stop; users move away for at most %g s", self._drain_s
        )
        self._port.attachment.tell_stopping()
        while (passed_s := time.monotonic() - began_s) < self._drain_s:
            time.sleep(LOOK_INTERVAL_S)
            if passed_s < SIBLINGS_S:
                continue
            if self._port.phase() != DRAINING:
                logger.info("clustersession: this worker stops, others of the node go on")
                return
            if not self._port.serving_routes():
                logger.warning("clustersession: this node stops and no other serves its users")
                return
        moved = self._counters.failovers - moved
        if self._is_held():
            logger.info("clustersession: drained, %d answers moved a session; stopping", moved)
        else:
            logger.warning("clustersession: stopping though no peer has confirmed all changes")

    def _is_held(self) -> bool:
        try:
            return self._port.confirm(self._replica.head())
        except ReplicaError:
            return False


class _Signal:
    """The handler of one process, and the nodes that want to hear of the signal."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.departures: list[DrainOnStop] = []
        self._began = False
        self._before = signal.getsignal(signal.SIGTERM)

    def install(self) -> bool:
        """Take the server's place; False where that cannot be done."""
        if self._before in (None, signal.SIG_IGN):
            return False
        if threading.current_thread() is not threading.main_thread():
            return False
        signal.signal(signal.SIGTERM, self._handle)
        return True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._began or not self.departures or self.pid != os.getpid():
            self._pass_on(number, frame)
            return
        self._began = True
        threading.Thread(target=self._depart, name="clustersession-drain", daemon=True).start()

    def _depart(self) -> None:
        threads = [threading.Thread(target=d.run, daemon=True) for d in self.departures]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os.kill(os.getpid(), signal.SIGTERM)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, self._before)
        if callable(self._before):
            self._before(number, frame)
        else:
            os.kill(os.getpid(), number)


_signal: _Signal | None = None


def watch(departing: DrainOnStop) -> None:
    """Run it when this process gets SIGTERM; says so where that cannot be."""
    global _signal
    if _signal is None or _signal.pid != os.getpid():
        fresh = _Signal()
        if not fresh.install():
            logger.warning(
                "clustersession: drain_on_stop_s has no effect: SIGTERM cannot be caught here; "
                "start the node from its server's hook, in the main thread"
            )
            return
        _signal = fresh
    _signal.departures.append(departing)


def forget(departing: DrainOnStop) -> None:
    """The node is closed."""
    if _signal is not None and departing in _signal.departures:
        _signal.departures.remove(departing)
