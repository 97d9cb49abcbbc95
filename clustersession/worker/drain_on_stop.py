"""Keeps a worker that is told to stop serving for a while, so that its users move first.

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
from clustersession.replica.replica import Replica
from clustersession.worker.agent_client import DRAINING, AgentClient

# Siblings are told within moments of each other; one that is told alone is being recycled.
SIBLINGS_S = 1.0
LOOK_INTERVAL_S = 0.1

logger = logging.getLogger("clustersession")


class DrainOnStop:
    """Drains one open node of this process before the process stops.

    drain_s: for how long at most. counters: of the runtime's manager; the failovers among them are
    the answers that moved a session.
    """

    def __init__(
        self, drain_s: float, agent_client: AgentClient, replica: Replica, counters: Counters
    ) -> None:
        self._drain_s = drain_s
        self._agent_client = agent_client
        self._replica = replica
        self._counters = counters

    def run(self) -> None:
        """Drain, at most for ``drain_s``; on a thread of its own. Never raises."""
        began_s, moved = time.monotonic(), self._counters.failovers
        logger.info(
            "clustersession: told to stop; users move away for at most %g s", self._drain_s
        )
        self._agent_client.attachment.tell_stopping()
        while (passed_s := time.monotonic() - began_s) < self._drain_s:
            time.sleep(LOOK_INTERVAL_S)
            if passed_s < SIBLINGS_S:
                continue
            if self._agent_client.phase() != DRAINING:
                logger.info("clustersession: this worker stops, others of the node go on")
                return
            if not self._agent_client.serving_routes():
                logger.warning("clustersession: this node stops and no other serves its users")
                return
        moved = self._counters.failovers - moved
        if self._is_held():
            logger.info("clustersession: drained, %d answers moved a session; stopping", moved)
        else:
            logger.warning("clustersession: stopping though no peer has confirmed all changes")

    def _is_held(self) -> bool:
        try:
            head = self._replica.head()
            # A node that has written nothing since its start asks nobody: none can hold that.
            return not head or self._agent_client.confirm(head)
        except ReplicaError:
            return False


class _Sigterm:
    """Handles the signal for one process, in the place of the server's handler.

    pid: the process that installed it; in a child of a fork it only passes the signal on.
    drains: what is to run first; added when a node opens, removed when it closes.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.drains: list[DrainOnStop] = []
        # Set by the first signal and never taken back: the second one reaches the server at once.
        self._began = False
        # The server's own handler, which is called when the drain is over.
        self._servers = signal.getsignal(signal.SIGTERM)

    def install(self) -> bool:
        """Take the server's place; False where that cannot be done."""
        if self._servers in (None, signal.SIG_IGN):
            return False
        if threading.current_thread() is not threading.main_thread():
            return False
        try:
            signal.signal(signal.SIGTERM, self._handle)
        except ValueError:
            # Only the first interpreter of a process may, see mod_wsgi.
            return False
        # mod_wsgi ignores the call, unless it is told not to.
        return signal.getsignal(signal.SIGTERM) == self._handle

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._began or not self.drains or self.pid != os.getpid():
            self._pass_on(number, frame)
            return
        self._began = True
        threading.Thread(target=self._drain, name="clustersession-drain", daemon=True).start()

    def _drain(self) -> None:
        threads = [threading.Thread(target=drain.run, daemon=True) for drain in self.drains]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os.kill(os.getpid(), signal.SIGTERM)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, self._servers)
        if callable(self._servers):
            self._servers(number, frame)
        else:
            os.kill(os.getpid(), number)


_sigterm: _Sigterm | None = None


def drain_at_sigterm(drain: DrainOnStop) -> None:
    """Run a drain when this process gets SIGTERM; warns where that cannot be."""
    global _sigterm
    if _sigterm is None or _sigterm.pid != os.getpid():
        fresh = _Sigterm()
        if not fresh.install():
            logger.warning(
                "clustersession: drain_on_stop_s has no effect: SIGTERM cannot be caught here; "
                "start the node from its server's hook, in the main thread"
            )
            return
        _sigterm = fresh
    _sigterm.drains.append(drain)


def forget_drain(drain: DrainOnStop) -> None:
    """Run a drain no more: its node is closed."""
    if _sigterm is not None and drain in _sigterm.drains:
        _sigterm.drains.remove(drain)
