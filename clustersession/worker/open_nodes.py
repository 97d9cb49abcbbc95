"""Opens each node once for a process, which must not open an LMDB environment twice.

The process id is looked at for each use: what was opened before a fork, in the master of a
preloading server, is left alone and never used in a child.
"""

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clustersession.core.errors import ConfigurationError
from clustersession.replica.home import NodeHome, keep_files, open_node_replica
from clustersession.replica.journal.segments import remove_unwanted
from clustersession.replica.replica import Replica
from clustersession.session.cluster_port import ClusterPort
from clustersession.settings.settings import Settings
from clustersession.worker.agent_client import AgentClient
from clustersession.worker.agent_events import AgentEvents
from clustersession.worker.host_clock import HostClock
from clustersession.worker.local_only import LocalOnly
from clustersession.worker.moved_clock import worker_clock
from clustersession.worker.run_of_tests import tests_state_dir
from clustersession.worker.secret import compare_secret

if TYPE_CHECKING:
    from clustersession.worker.agent_thread import ThreadAgent
    from clustersession.worker.local_journal import LocalJournal


class OpenNode:
    """Holds one node for all runtimes of this process. ``settings`` are complete.

    Attributes:
        clock: the wall clock of this process, by which the replica is written.
        replica: open from the first runtime's start to the last one's close.
        agent_client: the way to the node's agent; None where ``distributable`` is off, and then
            there is no agent.
        cluster: what the session managers see of the cluster; the agent client where there is one.
        agent_events: the runtimes' listeners for what only the agent can tell of.
        users: how many runtimes have the node open. It is closed when there is none any more.

    ``_agent_thread`` is the agent itself, with ``agent="thread"``; ``_journal`` is there without.
    """

    def __init__(self, settings: Settings, home: NodeHome) -> None:
        thread_agent = _thread_agent(settings)
        self.clock = worker_clock(settings)
        # An agent in this process stores batches, for which that is not made.
        mapped = thread_agent is None
        self.replica = open_node_replica(home, settings, mapped=mapped)
        self.replica.check_clock(self.clock.checked)
        compare_secret(settings, self.replica)
        self.agent_client: AgentClient | None = None
        self.cluster: ClusterPort
        self._agent_thread: ThreadAgent | None = None
        self._journal: LocalJournal | None = None
        if settings.distributable:
            start: Callable[[], bool] | None = None
            if thread_agent is not None:
                self._agent_thread = thread_agent(settings, home, self.replica)
                start = self._agent_thread.start
            self.cluster = self.agent_client = AgentClient(
                settings, home, self.replica, start=start
            )
        else:
            self._journal = _local_journal(settings, home, self.replica, self.clock)
            self.cluster = LocalOnly(
                settings.route, self.replica, self.clock, partial(keep_files, home),
                self._journal, settings.fetch_timeout_s,
            )
        self.agent_events = AgentEvents(self.agent_client, settings.events == "everywhere")
        self.users = 0

    def close(self) -> None:
        """Detach from the agent; one inside this process leaves the cluster."""
        if self.agent_client is not None:
            self.agent_client.close()
        if self._agent_thread is not None:
            self._agent_thread.stop()
        if self._journal is not None:
            self._journal.close()
        # The last process out of a host that is going down leaves its sessions trusted.
        self.replica.mark_clean()


def _local_journal(
    settings: Settings, home: NodeHome, replica: Replica, clock: HostClock
) -> "LocalJournal | None":
    """Return what keeps the journal of a node without an agent; None where nothing is kept."""
    if tests_state_dir() is not None:
        return None
    if settings.effective_durability == "none":
        remove_unwanted(home.journal)
        return None
    # Imported here: a worker with an agent has no use for it.
    from clustersession.worker.local_journal import LocalJournal

    return LocalJournal(home, settings, replica, clock.wall_ms)


def _thread_agent(settings: Settings) -> "type[ThreadAgent] | None":
    """Find what runs an agent in this process. Raises ConfigurationError where nothing can."""
    if settings.agent != "thread" or not settings.distributable:
        return None
    # Imported here: no other worker has a use for the modules of the agent and the engine.
    try:
        from clustersession.worker.agent_thread import ThreadAgent
    except ImportError as error:
        raise ConfigurationError(
            f"agent is 'thread', and this interpreter cannot import what an agent needs ({error}): "
            "leave agent at its default, or under mod_wsgi add WSGIApplicationGroup %{GLOBAL}"
        ) from error
    return ThreadAgent


class OpenNodes:
    """Lists the open nodes of one process. A child of a fork has a table of its own.

    lock: held while a node is opened or closed. by_path: by the replica's directory.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.by_path: dict[Path, OpenNode] = {}

    def find_or_open(self, settings: Settings, home: NodeHome) -> OpenNode:
        """Return the node, opened if need be. ``settings`` are complete; the lock is held."""
        node = self.by_path.get(home.replica)
        if node is None:
            node = self.by_path[home.replica] = OpenNode(settings, home)
        return node

    def give_back(self, path: Path) -> None:
        """Count one user less; the last one closes the node. The lock is held."""
        node = self.by_path.get(path)
        if node is None:
            return
        node.users -= 1
        if node.users == 0:
            del self.by_path[path]
            node.close()


# By process id. What a parent process has made stays referenced, so that no destructor runs in
# the child.
_by_pid: dict[int, OpenNodes] = {}


def open_nodes() -> OpenNodes:
    """Return the table of this process."""
    # The first requests after a fork come on several threads, and no lock of the parent may be
    # trusted to be free; ``setdefault`` lets one of them win.
    pid = os.getpid()
    return _by_pid.get(pid) or _by_pid.setdefault(pid, OpenNodes())
