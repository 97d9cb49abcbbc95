"""``clustersession top`` of a node of three, a moment after one of the others was killed."""

import http.client
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clustersession.replica.home import NodeHome
from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node, uvicorn_command
from clustersession.tools.demo.processes import wait_for
from clustersession.tools.demo.run import DEMO_APP
from clustersession.tools.demo.scenario import LOST
from clustersession.tools.top.live import look
from clustersession.tools.top.screen import Style, screen
from tools.pictures import svg

ROUTES = ("tomcat1", "tomcat2", "tomcat3")
MOMENT_S, PAUSE_S = 2.5, 0.05
COLUMNS, ROWS = 132, 22
TITLE = "clustersession top: the members, the lag, what a node does a second, its newest log lines."
_COLOURS = {
    Style.PLAIN: svg.TEXT, Style.TITLE: svg.BLUE, Style.WARNING: svg.YELLOW, Style.ERROR: svg.RED,
}


def top() -> str:
    """The whole file."""
    with _nodes() as (first, second, third):
        homes = [_home(node) for node in (first, second, third)]
        wait_for(lambda: all(_is_ready(home) for home in homes), "three nodes to be ready")
        third.kill()
        first.wait_for_line(third.route, LOST)
        _serve_visitors(first, second)
        before = look(homes[0])
        _serve_visitors(first, second)
        lines = screen(before, look(homes[0]), COLUMNS, ROWS)
    while lines and not lines[-1][0].strip():
        lines = lines[:-1]
    return svg.terminal(TITLE, [(content.rstrip(), _COLOURS[style]) for content, style in lines])


@contextmanager
def _nodes() -> Iterator[Sequence[Node]]:
    ports = ClusterPorts()
    with tempfile.TemporaryDirectory(prefix="clustersession-top-") as directory, ExitStack() as end:
        nodes = [
            make_node(route, Path(directory), ports, uvicorn_command(DEMO_APP)) for route in ROUTES
        ]
        for node in nodes:
            end.callback(node.stop)
            node.start()
        yield nodes


def _home(node: Node) -> NodeHome:
    (lock,) = wait_for(lambda: [*node.state_dir.glob("*/agent.lock")], f"{node.route}'s agent")
    return NodeHome(lock.parent)


def _is_ready(home: NodeHome) -> bool:
    """Tell whether the node has the two others."""
    status = look(home).status
    others = [member for member in status["members"] if member["phase"] == "ready"]
    return status["phase"] == "ready" and len(others) == len(ROUTES) - 1


def _serve_visitors(*nodes: Node) -> None:
    """For a moment, so that there are rates to see."""
    until_s = time.monotonic() + MOMENT_S
    while time.monotonic() < until_s:
        for node in nodes:
            _log_in(node)
        time.sleep(PAUSE_S)


def _log_in(node: Node) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    connection.request(
        "POST", "/api/login", b'{"user": "ann"}', {"Content-Type": "application/json"}
    )
    assert connection.getresponse().status == 200
    connection.close()
