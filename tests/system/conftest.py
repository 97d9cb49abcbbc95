"""Nodes for the system tests: real servers with real agents, ended whatever happens."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import ClusterPorts, Node

StartNodes = Callable[..., list[Node]]


@pytest.fixture
def start_nodes(tmp_path: Path) -> Iterator[StartNodes]:
    """``start_nodes(make, "tomcat1", "tomcat2")`` starts nodes that have found each other."""
    with ExitStack() as cleanup:
        def start(make: Callable[[str, Path, ClusterPorts], Node], *routes: str) -> list[Node]:
            ports = ClusterPorts()
            nodes = [make(route, tmp_path, ports) for route in routes]
            start_together(nodes, cleanup)
            for node in nodes:
                get(node, "/api/whoami")
            for node in nodes:
                for other in routes:
                    if other != node.route:
                        node.wait_for_line(other, ADDED)
            for node in nodes:
                wait_for(lambda n=node: settled(n, len(nodes) - 1), f"{node.route} to be ready")
            return nodes

        yield start


from clustersession.tools.demo.processes import wait_for  # noqa: E402
from clustersession.tools.demo.scenario import ADDED  # noqa: E402
from tests.support.starting import start_together  # noqa: E402
from tests.system.client import get, settled  # noqa: E402
