"""gunicorn with the example's gunicorn.conf.py: a node that nobody has asked holds copies."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import ClusterPorts
from clustersession.tools.demo.processes import wait_for
from tests.support.apps import flask_under_gunicorn
from tests.system.client import data, new_session, settled

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def test_a_node_joins_without_any_request_and_keeps_the_sessions_of_its_peer(
    tmp_path: Path,
) -> None:
    ports = ClusterPorts()
    nodes = [flask_under_gunicorn(route, tmp_path, ports) for route in ("tomcat1", "tomcat2")]
    with ExitStack() as cleanup:
        for node in nodes:
            cleanup.callback(node.stop)
            node.start()
        for node in nodes:
            wait_for(lambda n=node: any(n.state_dir.rglob("agent.sock")), f"{node.route}'s agent")
        for node in nodes:
            wait_for(lambda n=node: settled(n, 1), f"{node.route} to have found the other")
        cookie = new_session(nodes[0], user="ann")
        nodes[0].kill()
        assert data(nodes[1], cookie) == {"user": "ann"}
