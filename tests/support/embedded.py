"""The demo's own balancer, in a process of its own like the real ones."""

import sys
from collections.abc import Sequence
from pathlib import Path

from clustersession.tools.demo.nodes import COOKIE_NAME, Node
from tests.support.balancers import Balancer
from tests.support.processes import free_port


def embedded(nodes: Sequence[Node], directory: Path) -> Balancer:
    """clustersession.tools.demo.embedded_balancer."""
    port = free_port()
    module = "clustersession.tools.demo.embedded_balancer"
    command = [sys.executable, "-m", module, str(port), COOKIE_NAME]
    return Balancer(
        [*command, *(f"{node.route}={node.port}" for node in nodes)], directory, port
    )
