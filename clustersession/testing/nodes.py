"""Runs an application on several nodes of this host, which a test can kill."""

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from clustersession.net.agent_link import AgentGone, ask_once
from clustersession.settings.sources import TEST_STATE_DIR_VARIABLE
from clustersession.testing.sticky_client import StickyClient
from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node
from clustersession.tools.demo.processes import free_port, wait_for
from clustersession.wire.local import Operation
from clustersession.worker.run_of_tests import CONFIGURED, hold, name_prefix, remove

NODES_MAX = 9
START_S = 30.0


class ClusterNode:
    """Is one node: a server with its agent, as on a host of its own."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def route(self) -> str:
        """Return the node's route, with which the cookie of its sessions ends."""
        return self._node.route

    @property
    def url(self) -> str:
        """Return where the application answers, without a slash at the end."""
        return f"http://127.0.0.1:{self._node.port}"

    @property
    def log(self) -> str:
        """Return the end of what the server has written."""
        return self._node.program.log_tail()

    def kill(self) -> None:
        """End the whole node with kill -9, its agent included."""
        self._node.kill()

    def start(self, deadline_s: float = START_S) -> None:
        """Start it, or start it again with the replica that it had. Raises StepFailed."""
        self._node.start(deadline_s)

    def stop(self) -> None:
        """End it politely; what is left then by kill -9."""
        self._node.stop()

    def alive_members(self) -> int:
        """Return how many other nodes its agent knows to be alive; -1 when it is not ready."""
        for socket in self._node.state_dir.rglob("agent.sock"):
            with suppress(AgentGone, TimeoutError, OSError):
                status: Any = ask_once(socket, Operation.STATUS)
                if status["phase"] == "ready":
                    return sum(m["status"] == "alive" for m in status["members"])
        return -1


class ClusterNodes(list[ClusterNode]):
    """Is the cluster: its nodes in order, those that were killed too."""

    def client(self) -> StickyClient:
        """Return a client that follows its cookie to the node, as through a sticky balancer."""
        return StickyClient({node.route: node.url for node in self})

    def by_route(self, route: str) -> ClusterNode:
        """Return a node. Raises KeyError."""
        found = {node.route: node for node in self}
        return found[route]

    def wait_until_together(self, alive: int | None = None, deadline_s: float = START_S) -> None:
        """Wait until so many nodes, all by default, know each other. Raises StepFailed."""
        wanted = len(self) if alive is None else alive
        wait_for(
            lambda: sum(node.alive_members() == wanted - 1 for node in self) == wanted,
            f"{wanted} nodes to know each other; their servers wrote:\n"
            + "\n".join(node.log for node in self),
            deadline_s,
        )


@contextmanager
def running_nodes(
    app: str,
    nodes: int = 2,
    *,
    app_directory: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    deadline_s: float = START_S,
) -> Iterator[ClusterNodes]:
    """Run an application on several nodes that know each other, until the block is left.

    app: "module:name", or "module:factory()", to be imported in ``app_directory``, by default the
    working directory. environment: further variables. Raises StepFailed with the servers' logs.
    """
    if not 1 <= nodes <= NODES_MAX:
        raise ValueError(f"nodes must be 1 to {NODES_MAX}")
    directory = Path(tempfile.mkdtemp(prefix=name_prefix()))
    with ExitStack() as cleanup:
        cleanup.callback(remove, directory)
        # Or a run that begins meanwhile takes it for one that was left.
        hold(directory)
        cluster = ClusterNodes()
        for node in _make(app, nodes, directory, Path(app_directory or os.getcwd()), environment):
            cleanup.callback(node.stop)
            cluster.append(ClusterNode(node))
        for each in cluster:
            each.start(deadline_s)
        cluster.wait_until_together(deadline_s=deadline_s)
        yield cluster


def _make(
    app: str, count: int, directory: Path, app_directory: Path,
    environment: Mapping[str, str] | None,
) -> list[Node]:
    shared = ClusterPorts()
    ports = [free_port() for _ in range(count)]
    command = [
        sys.executable, "-m", "clustersession.testing.serve", app, "{port}", str(os.getpid()),
    ]
    # Theirs is the cluster of the test, in which they are real nodes: not kept apart once more.
    further = {
        TEST_STATE_DIR_VARIABLE: CONFIGURED,
        "CLUSTERSESSION_MULTICAST_ADDRESS": "",
        "CLUSTERSESSION_PORT_RANGE": "1",
        "CLUSTERSESSION_SEEDS": ",".join(f"127.0.0.1:{port}" for port in ports),
        "CLUSTERSESSION_SECRET": secrets.token_urlsafe(32),
        # So that what the tests import is found there too, also without an installation.
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        **(environment or {}),
    }
    return [
        make_node(
            f"node{number}", directory, shared, command, app_directory=app_directory,
            environment={**further, "CLUSTERSESSION_PORT": str(port)},
        )
        for number, port in enumerate(ports, 1)
    ]
