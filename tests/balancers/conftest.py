"""Two nodes of a cluster of this test's own, ended whatever happens."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import ClusterPorts, Node

MakeNode = Callable[[str, Path, ClusterPorts], Node]
MakeNodes = Callable[[MakeNode], list[Node]]


@pytest.fixture
def make_nodes(tmp_path: Path) -> Iterator[MakeNodes]:
    """Start nodes tomcat1 and tomcat2 of one kind."""
    started: list[Node] = []

    def start(make: MakeNode) -> list[Node]:
        ports = ClusterPorts()
        for route in ("tomcat1", "tomcat2"):
            node = make(route, tmp_path, ports)
            started.append(node)
            node.start()
        return started

    yield start
    for node in started:
        node.stop()
