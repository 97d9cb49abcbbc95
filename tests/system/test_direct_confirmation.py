"""Writes that a peer confirms to the worker itself, by real servers; peer or agent are killed."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import ClusterPorts, Node
from clustersession.tools.demo.processes import wait_for
from tests.support.apps import fastapi_under_uvicorn, flask_under_gunicorn
from tests.system.client import agent_status, data, new_session, post, settled
from tests.system.conftest import StartNodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

WRITES = 30


def taken(node: Node) -> int:
    """How many changes the node's agent has taken directly."""
    found = agent_status(node).get("direct", {"changes": {"taken": 0}})
    count: int = found["changes"]["taken"]
    return count


def write(node: Node, cookie: str, first: int = 0) -> None:
    """Some writes, each acknowledged."""
    for number in range(first, first + WRITES):
        body = {"key": "n", "value": number}
        assert post(node, "/api/set", cookie, body).status == 200


@pytest.mark.parametrize("make", [fastapi_under_uvicorn, flask_under_gunicorn])
def test_what_a_peer_has_confirmed_directly_survives_kill_9(
    start_nodes: StartNodes, make: Callable[[str, Path, ClusterPorts], Node]
) -> None:
    first, second = start_nodes(make, "tomcat1", "tomcat2")
    cookie = new_session(first, user="ann")
    wait_for(lambda: _writes_directly(first, second, cookie), "a write to go directly")
    write(first, cookie)
    first.kill()
    assert data(second, cookie) == {"user": "ann", "n": WRITES - 1}


def test_a_peers_agent_that_is_killed_costs_no_write(start_nodes: StartNodes) -> None:
    first, second = start_nodes(fastapi_under_uvicorn, "tomcat1", "tomcat2")
    cookie = new_session(first, user="ann")
    wait_for(lambda: _writes_directly(first, second, cookie), "a write to go directly")
    agent = agent_status(second)["agent_pid"]
    os.kill(agent, signal.SIGKILL)
    write(first, cookie)
    assert data(first, cookie)["n"] == WRITES - 1
    wait_for(lambda: agent_status(second).get("agent_pid", agent) != agent, "another agent")
    for node in (first, second):
        wait_for(lambda n=node: settled(n, 1), f"{node.route} to be ready")
    write(first, cookie, WRITES)
    wait_for(lambda: data(second, cookie)["n"] == 2 * WRITES - 1, "the last write")
    wait_for(lambda: _writes_directly(first, second, cookie), "writes to go directly again")


def _writes_directly(first: Node, second: Node, cookie: str) -> bool:
    before = taken(second)
    write(first, cookie)
    return taken(second) > before
