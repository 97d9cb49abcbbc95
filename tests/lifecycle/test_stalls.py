"""Workers that stand still for five seconds: their node is a member all the time.

One node's workers are stopped, another's hold the interpreter lock, a third's event loop (gevent)
is kept busy, all at once; a fourth watches. The agent is a process of its own so that this holds.
"""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node
from clustersession.tools.demo.scenario import ADDED
from tests.support.apps import ROOT
from tests.support.processes import wait_for
from tests.support.starting import start_together
from tests.system.client import agent_status, get, post, settled

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]

STALL_S = 5.0
LOST = re.compile(r"member lost")
_UVICORN = (
    "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning",
    "--timeout-worker-healthcheck", "20", "tests.faults.app:over_asgi",
)
_GUNICORN = (
    "gunicorn", "-b", "127.0.0.1:{port}", "--no-control-socket", "-c", "python:tests.faults.app",
    "tests.faults.app:over_wsgi",
)
SERVERS = {
    "stopped": (*_UVICORN, "--workers", "2"),
    "holding": (*_GUNICORN, "-w", "1", "-k", "gthread", "--threads", "4"),
    "busy": (*_GUNICORN, "-w", "1", "-k", "gevent"),
    "watching": _UVICORN,
}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[dict[str, Node]]:
    ports = ClusterPorts()
    with ExitStack() as cleanup:
        made = {
            route: make_node(
                route, tmp_path, ports, [sys.executable, "-m", *command], app_directory=ROOT
            )
            for route, command in SERVERS.items()
        }
        start_together([*made.values()], cleanup)
        for node in made.values():
            get(node, "/hello")
        for node in made.values():
            wait_for(lambda n=node: settled(n, len(made) - 1), f"{node.route} to be ready", 40.0)
        yield made


def hold(node: Node) -> threading.Thread:
    """Let the worker that takes this do nothing else for a while."""
    thread = threading.Thread(target=post, args=(node, "/hold", None, {"seconds": STALL_S}))
    thread.start()
    return thread


def test_nobody_is_removed_while_workers_stand_still(nodes: dict[str, Node]) -> None:
    watching = nodes["watching"]
    stopped = agent_status(nodes["stopped"])["workers"]
    assert len(stopped) == 2
    holding = [hold(nodes["holding"]), hold(nodes["busy"])]
    seen: set[tuple[str, str]] = set()
    began_s = time.monotonic()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        def over() -> bool:
            seen.update((m["route"], m["status"]) for m in agent_status(watching)["members"])
            return time.monotonic() - began_s > STALL_S

        wait_for(over, "the end of the stall", 20.0)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    for thread in holding:
        thread.join(20)
    assert {route for route, _ in seen} == {"stopped", "holding", "busy"}
    assert {status for _, status in seen} <= {"alive", "suspect"}
    for node in nodes.values():
        assert get(node, "/hello").status == 200
        for other in nodes:
            assert not node.lines_about(other, LOST), node.log_lines()
            if other != node.route:
                assert len(node.lines_about(other, ADDED)) == 1
