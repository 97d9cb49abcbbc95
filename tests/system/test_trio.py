"""Two nodes under hypercorn's trio worker: what an event loop does elsewhere, threads do here."""

import sys
import time
from pathlib import Path

import pytest

from clustersession.core.counters import Counters
from clustersession.replica.home import open_node_replica
from clustersession.settings.settings import Settings
from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node
from clustersession.tools.demo.processes import wait_for
from tests.support.apps import ROOT
from tests.system.client import agent_status, data, get, home, post
from tests.system.conftest import StartNodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

HYPERCORN = [
    sys.executable, "-m", "hypercorn", "-k", "trio", "-w", "1", "-b", "127.0.0.1:{port}", "app:app",
]


@pytest.mark.parametrize("example", ["starlette_app", "fastapi_app"])
def test_a_node_dies_and_the_other_has_every_session(
    start_nodes: StartNodes, example: str
) -> None:
    def make(route: str, directory: Path, ports: ClusterPorts) -> Node:
        return make_node(
            route, directory, ports, HYPERCORN, app_directory=ROOT / "examples" / example
        )

    first, second = start_nodes(make, "tomcat1", "tomcat2")
    cookie = post(first, "/api/append", None, {"key": "cart", "value": "tea"}).cookie
    assert cookie is not None
    cookie = post(first, "/api/login", cookie, {"user": "ann"}).cookie
    assert cookie is not None
    # ack="one", the default: the other node had it before the answer came.
    assert data(second, cookie) == {"user": "ann", "cart": ["tea"]}
    assert forget_sessions(second) >= 1
    assert data(second, cookie) == {"user": "ann", "cart": ["tea"]}
    wait_for(lambda: counted(second, "fetched") == 1, "the fetch to be counted")
    assert post(first, "/api/append", cookie, {"key": "cart", "value": "cake"}).status == 200
    assert first.kill()
    answer = get(second, "/api/session", cookie)
    assert answer.data["data"] == {"user": "ann", "cart": ["tea", "cake"]}
    assert post(second, "/api/append", cookie, {"key": "cart", "value": "jam"}).status == 200
    assert counted(second, "unconfirmed") == 0
    first.start()
    wait_for(
        lambda: data(first, cookie).get("cart") == ["tea", "cake", "jam"], "the node to be back"
    )
    assert post(second, "/api/logout", cookie, {}).status == 200
    wait_for(lambda: data(first, cookie) == {}, "the logout on the other node")


def forget_sessions(node: Node) -> int:
    """Take all sessions out of one node's replica, as if the stream had missed them."""
    replica = open_node_replica(home(node), Settings())
    try:
        return replica.sweep(time.time_ns() // 1_000_000 + 40 * 86_400_000, 10)
    finally:
        replica.close()


def counted(node: Node, name: str) -> int:
    """What the node's workers have counted."""
    assert name in Counters.__dataclass_fields__
    found: int = agent_status(node)["work"][name]
    return found
