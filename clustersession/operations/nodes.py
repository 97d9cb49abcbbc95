"""Finds a node of this host and asks it."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from clustersession.core.errors import ClusterSessionError, ReplicaUnusable
from clustersession.net.agent_link import AgentGone, ask_once
from clustersession.operations.node_users import describe_users, user_pids
from clustersession.replica.home import NodeHome, open_node_replica, parse_name
from clustersession.replica.opening import LmdbReplica
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire.local import Operation
from clustersession.worker.known_secrets import digests_of, find_node
from clustersession.worker.places import state_dir_of

LISTED_MAX = 5


class NoSuchNode(ClusterSessionError):
    """No node, or more than one, fits what was asked for; the message says what to add."""


def find_home(settings: Settings, *, in_use: bool = True) -> NodeHome:
    """Find the directory of the node that the settings name, or of the only node there is.

    ``state_dir`` may be the node's own directory, too. Where several fit, it is the only one that a
    process has open; without ``in_use`` that does not tell. Makes nothing. Raises NoSuchNode.
    """
    base = state_dir_of(settings)
    try:
        return _find_home(settings, base, in_use)
    except PermissionError as error:
        raise NoSuchNode(
            f"{error.filename} is private to its owner; run this as the user that the application "
            "runs as"
        ) from None


def _find_home(settings: Settings, base: Path, in_use: bool) -> NodeHome:
    if parse_name(base) != ("", "") and (base / "replica").is_dir():
        return NodeHome(base)
    with suppress(FileNotFoundError, NotADirectoryError):
        # ``glob`` finds nothing in a directory that it may not read.
        os.scandir(base).close()
    found = [
        NodeHome(path) for path in sorted(base.glob("*.*.*"))
        if parse_name(path) != ("", "") and (path / "replica").is_dir()
    ]
    fitting = _with_secret(settings, _named(settings, found))
    # Applications that were tried and left on this host are not meant by who asks.
    in_question = [home for home in fitting if in_use and user_pids(home.replica)]
    for homes in (fitting, in_question):
        if len(homes) == 1:
            return homes[0]
    raise NoSuchNode(_several(base, fitting) if fitting else _none(settings, base, found))


def _named(settings: Settings, found: list[NodeHome]) -> list[NodeHome]:
    """Leave those of the route and the cluster's name that were given, as far as they were."""
    names = {home: parse_name(home.directory) for home in found}
    if settings.route:
        found = [home for home in found if names[home][1] == settings.route]
    named = [home for home in found if names[home][0] == settings.cluster_name]
    return named if named or settings.cluster_name != Settings().cluster_name else found


def _with_secret(settings: Settings, found: list[NodeHome]) -> list[NodeHome]:
    """Leave the one that has had a secret of the settings, where they have any."""
    if not settings.secret:
        return found
    names = sorted({parse_name(home.directory) for home in found})
    of_a_name = [[h for h in found if parse_name(h.directory) == name] for name in names]
    known = (
        find_node(nodes, digests_of(settings.secret, name[0]))
        for name, nodes in zip(names, of_a_name, strict=True)
    )
    return [home for home in known if home is not None]


def _none(settings: Settings, base: Path, found: list[NodeHome]) -> str:
    wanted = f" {settings.route}" if settings.route else ""
    having = " with the secret that is set here" if settings.secret else ""
    everything = ", ".join(home.directory.name for home in found) or "nothing"
    return (
        f"no node{wanted} of cluster {settings.cluster_name}{having} has ever run in {base}, where "
        f"there is {everything}; before the command, give --state-dir, --cluster-name and "
        "--route as the application has them, and the secret if it is set"
    )


def _several(base: Path, found: list[NodeHome]) -> str:
    # Who asks means one that lives, most likely, so that is the one to suggest.
    found = sorted(found, key=lambda home: not user_pids(home.replica))
    lines = [f"  {h.directory.name}: {describe_users(h)}" for h in found[:LISTED_MAX]]
    if len(found) > LISTED_MAX:
        lines.append(f"  and {len(found) - LISTED_MAX} more")
    names = {parse_name(home.directory) for home in found}
    return "\n".join([
        f"several nodes live in {base} (cluster, route, and a number for the first secret):",
        *lines,
        "choose with the secret that it has, or, before the command, with "
        + ("--cluster-name and --route, or with " if len(names) > 1 else "")
        + f"--state-dir {found[0].directory}",
    ])


def ask_agent(home: NodeHome, operation: Operation, *argument: object) -> Any:
    """Ask the node's agent. Raises AgentGone when there is none, TimeoutError when it is stuck."""
    try:
        return ask_once(home.agent_socket, operation, *argument)
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
    cluster_name, route = parse_name(home.directory)
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
