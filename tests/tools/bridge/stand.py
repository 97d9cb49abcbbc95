"""A node of peers and a store that a bridge joins; the node's agent runs on a thread."""

import time
from collections.abc import Callable
from dataclasses import replace

from clustersession.net.store.open_store import StorePlan, plan_of
from clustersession.replica.home import NodeHome
from clustersession.tools.bridge.bridge import Bridge
from clustersession.tools.bridge.room import Room
from clustersession.worker.completion import complete
from clustersession.worker.places import node_home
from clustersession.worker.runtime import Runtime


def plan_with(node: Runtime, url: str) -> StorePlan:
    """The store as the bridge of that node finds it."""
    return plan_of(replace(complete(node.settings), store=url))


def home_of(node: Runtime) -> NodeHome:
    """Where the node's files are."""
    return node_home(complete(node.settings))


def bridge_of(
    node: Runtime, url: str, tell: Callable[[str], object] = lambda line: None
) -> Bridge:
    """A bridge between a node of this process and a store."""
    replica = node.manager().replica
    return Bridge(
        replica, plan_with(node, url), Room(home_of(node), replica),
        lambda: time.time_ns() // 1_000_000, tell,
    )

