"""Offers what tests of an application need: sessions, a clock, nodes, a directory of their own.

The fixtures of ``clustersession.pytest`` are made of it; other test runners import it from here.
"""

from clustersession.testing.clock import ClusterClock, moved_clock
from clustersession.testing.isolation import isolated
from clustersession.testing.nodes import ClusterNode, ClusterNodes, running_nodes
from clustersession.testing.presets import PresetSession, session_for

__all__ = [
    "ClusterClock",
    "ClusterNode",
    "ClusterNodes",
    "PresetSession",
    "isolated",
    "moved_clock",
    "running_nodes",
    "session_for",
]
