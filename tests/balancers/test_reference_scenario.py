"""The reference scenario through real balancers in front of real app servers.

Each test starts two nodes and one balancer on loopback, kills every process of one node with kill
-9 and looks at what a browser sees. What must hold stands in ``tools.demo.scenario``.
"""

from pathlib import Path

import pytest

from clustersession.tools.demo.scenario import Browser, Scenario
from tests.balancers.conftest import MakeNode, MakeNodes
from tests.support import apps, balancers
from tests.support.apps import READY_PATH
from tests.support.balancers import MakeBalancer
from tests.support.embedded import embedded
from tests.support.processes import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

PAIRS: list[tuple[MakeBalancer, MakeNode]] = [
    (balancers.mod_proxy_balancer, apps.fastapi_under_uvicorn),
    (balancers.mod_proxy_balancer, apps.fastapi_under_gunicorn),
    (balancers.mod_proxy_balancer, apps.flask_under_gunicorn),
    (balancers.mod_jk, apps.flask_over_ajp),
    (balancers.haproxy, apps.fastapi_under_uvicorn),
    (balancers.nginx, apps.fastapi_under_uvicorn),
    (embedded, apps.fastapi_under_uvicorn),
]


@pytest.mark.parametrize(
    ("make_balancer", "make_node"), PAIRS,
    ids=[f"{balancer.__name__}-{node.__name__}" for balancer, node in PAIRS],
)
def test_session_survives_kill_9_of_its_node(
    make_balancer: MakeBalancer, make_node: MakeNode, make_nodes: MakeNodes, tmp_path: Path
) -> None:
    nodes = make_nodes(make_node)
    for node in nodes:
        # Balancers that check the ready path have nobody to send users to before.
        ready = Browser(node.direct_port)
        wait_for(lambda b=ready: b.get(READY_PATH).status == 200, f"{node.route} to be ready")
    with make_balancer(nodes, tmp_path) as balancer:
        Scenario(nodes, balancer.port, print).run()


def test_no_process_of_a_stopped_node_is_left(make_nodes: MakeNodes) -> None:
    nodes = make_nodes(apps.fastapi_under_uvicorn)
    for node in nodes:
        assert node.pids()
        node.stop()
        assert wait_for(lambda node=node: not node.pids(), "the end of the node")
