"""Finds a node of this host and asks it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from clustersession.core.errors import ClusterSessionError, ReplicaUnusable
from clustersession.net.agent_link import AgentGone, ask_once
from clustersession.replica.home import NodeHome, open_node_replica
from clustersession.replica.opening import LmdbReplica
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire.local import Operation
from clustersession.worker.places import user_state_dir


class NoSuchNode(ClusterSessionError):
    """No node, or more than one, fits what was asked for; the message says what to add."""


def find_home(settings: Settings) -> NodeHome:
    """Find the directory of the node that the settings name, or of the only node there is.

    Makes nothing. Raises NoSuchNode.
    """
    base = Path(settings.state_dir) if settings.state_dir else user_state_dir()
    try:
        found = sorted(path for path in base.glob("*.*") if (path / "replica").is_dir())
    except PermissionError as error:
        raise NoSuchNode(
            f"{error.filename} is private to its owner; run this as the user that the application "
            "runs as"
        ) from None
    everything = ", ".join(path.name for path in found) or "nothing"
    if settings.route:
        found = [path for path in found if path.name.endswith(f".{settings.route}")]
    cluster = settings.cluster_name
    named = [path for path in found if path.name.rpartition(".")[0] == cluster]
    if named or settings.cluster_name != Settings().cluster_name:
        found = named
    if len(found) == 1:
        return NodeHome(found[0])
    if not found:
        wanted = f" {settings.route}" if settings.route else ""
        raise NoSuchNode(
            f"no node{wanted} of cluster {settings.cluster_name} has ever run in {base}, where "
            f"there is {everything}; before the command, give --state-dir, --cluster-name and "
            "--route as the application has them"
        )
    names = ", ".join(path.name for path in found)
    raise NoSuchNode(
        f"several nodes live in {base}: {names} (cluster and route); choose with --cluster-name "
        "and --route, before the command"
    )


def ask_agent(home: NodeHome, operation: Operation) -> Any:
    """Ask the node's agent. Raises AgentGone when there is none, TimeoutError when it is stuck."""
    try:
        return ask_once(home.agent_socket, operation)
    except TimeoutError:
        pid = home.agent_lock.read_text().strip() if home.agent_lock.exists() else "unknown"
        raise TimeoutError(
            f"the agent of {home.directory.name} (pid {pid}) does not answer; it may be stopped or "
            "starved; ending it is safe, a worker starts another"
        ) from None


def status(
    home: NodeHome, open_replica: Callable[[], AbstractContextManager[Replica]] | None = None
) -> dict[str, Any]:
    """Ask for the agent's status or, with no agent, for what the replica tells of itself.

    ``open_replica``: for a process that serves, which must not open its replica a second time.
    """
    try:
        answer: dict[str, Any] = ask_agent(home, Operation.STATUS)
        return answer
    except AgentGone:
        pass
    cluster_name, _, route = home.directory.name.rpartition(".")
    with open_replica() if open_replica else replica(home) as node_replica:
        stats = node_replica.stats()
        return {
            "cluster_name": cluster_name,
            "route": route,
            "node": node_replica.node.hex()[:8],
            "phase": "no agent",
            "members": [],
            "sessions": stats.sessions,
            "tombstones": stats.tombstones,
            "feed_head": stats.head,
            "feed_entries": stats.feed_entries,
            "replica_bytes": stats.bytes_used,
        }


def newest_events(home: NodeHome) -> list[list[Any]]:
    """Ask for the newest lines of the agent's log, oldest first: [wall ms, level, text] each.

    Empty without an agent, or with one of an older version, which keeps none.
    """
    try:
        return ask_agent(home, Operation.EVENTS) or []
    except AgentGone:
        return []


@contextmanager
def replica(home: NodeHome) -> Iterator[LmdbReplica]:
    """Open the node's replica for a block, beside whatever processes serve from it."""
    if not home.replica.is_dir():
        raise ReplicaUnusable(f"there is no replica in {home.directory}")
    opened = open_node_replica(home, Settings())
    try:
        yield opened
    finally:
        # Of a node that is stopped this is the last user, and must leave it as trusted as it was.
        opened.mark_clean()
