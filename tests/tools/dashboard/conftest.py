"""What the tests of the dashboard share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import ClusterPorts, Node
from tests.support.apps import fastapi_under_uvicorn
from tests.support.processes import wait_for
from tests.system.client import get, settled
from tests.system.conftest import start_nodes
from tests.tools.dashboard.running import running_dashboard
from tests.tools.dashboard.visitor import TOKEN

__all__ = ["start_nodes"]


@pytest.fixture
def options(tmp_path: Path) -> dict[str, object]:
    return {
        "distributable": True, "agent": "thread", "bind": "127.0.0.1", "multicast_address": "",
        "state_dir": str(tmp_path), "route": "tomcat1", "secret": "s" * 32, "cluster_name": "shop",
        "dashboard_token": TOKEN, "dashboard_hosts": ("testserver",),
    }


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all; a dashboard changes nothing that another test would see."""
    node = fastapi_under_uvicorn("tomcat1", tmp_path_factory.mktemp("node"), ClusterPorts())
    try:
        node.start()
        get(node, "/api/whoami")
        wait_for(lambda: settled(node, 0), "the node to be ready")
        yield node
    finally:
        node.stop()


@pytest.fixture
def link(node: Node, tmp_path: Path) -> Iterator[str]:
    with running_dashboard(node, tmp_path) as (link, _):
        yield link
