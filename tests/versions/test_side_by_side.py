"""Two real nodes of two versions, and workers beside an agent of the other version."""

import os
import shutil
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node, uvicorn_command
from clustersession.tools.demo.processes import wait_for
from clustersession.wire.messages import PROTOCOL_VERSION
from tests.support.apps import FASTAPI_DIRECTORY, ROOT
from tests.system.client import agent_status, data, get, new_session, post, settled
from tests.system.conftest import StartNodes, start_nodes

__all__ = ["start_nodes"]

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

# A busy machine takes its time to start a server, and to answer.
PATIENCE = {
    "CLUSTERSESSION_AGENT_LINGER_S": "60", "CLUSTERSESSION_ACK_TIMEOUT_S": "10",
    "CLUSTERSESSION_FETCH_TIMEOUT_S": "5", "CLUSTERSESSION_DROP_TIME_S": "10",
}
NEW_MESSAGE = '''
@dataclass(frozen=True, slots=True)
class Rumour:
    """A message that no older version knows."""

    text: str = kept_as(NAME)


Message = (
'''
CHANGES: dict[str, list[tuple[str, str]]] = {
    "wire/messages.py": [
        (f"PROTOCOL_VERSION = {PROTOCOL_VERSION}\n",
         f"PROTOCOL_VERSION = {PROTOCOL_VERSION + 1}\n"),
        ("    past: Past | None = kept_as(PAST, default=None)\n",
         "    past: Past | None = kept_as(PAST, default=None)\n"
         '    mood: str = kept_as(NAME, default="unknown")\n'),
        ("ProbeReply: 16,", "ProbeReply: 16, Rumour: 99,"),
        ("\nMessage = (\n", NEW_MESSAGE),
    ],
    "node/heartbeat.py": [
        ("import Heartbeat, encode_message", "import Heartbeat, Rumour, encode_message"),
        ("            past=past,\n", '            past=past, mood="well",\n'),
        ('        """Send a heartbeat to one peer, with where the others listen."""\n',
         '        """Greet."""\n        self._context.send(peer.node, Rumour("no news"))\n'),
    ],
    "worker/agent_client.py": [
        ("int(timeout_s * 1000), ends, keys\n",
         'int(timeout_s * 1000), ends, keys, "and more"\n'),
    ],
    "worker/attachment.py": [
        ("link.ask(Operation.ATTACH, self._pid,", 'link.ask(Operation.ATTACH, self._pid, "more",'),
    ],
    "core/serving_view.py": [
        ('("!" if self.draining else "")).encode()',
         '("!" if self.draining else "")).encode() + b"\\nand more"'),
    ],
}


def later_tree(directory: Path) -> Path:
    """A copy of this tree that speaks one version more, and says things this one never heard."""
    package = directory / "clustersession"
    if not package.exists():
        shutil.copytree(
            ROOT / "clustersession", package, ignore=shutil.ignore_patterns("__pycache__")
        )
        for name, changes in CHANGES.items():
            text = (package / name).read_text()
            for before, after in changes:
                assert text.count(before) == 1, f"{name} has changed: {before!r}"
                text = text.replace(before, after)
            (package / name).write_text(text)
    return directory


def of_its_version(route: str, directory: Path, ports: ClusterPorts) -> Node:
    """The FastAPI example; the node "later" runs the later tree."""
    environment = dict(PATIENCE)
    if route == "later":
        environment["PYTHONPATH"] = str(later_tree(directory / "later_tree"))
    return make_node(
        route, directory, ports, uvicorn_command("app:app"), app_directory=FASTAPI_DIRECTORY,
        environment=environment,
    )


def test_sessions_go_both_ways_and_survive_either_node(start_nodes: StartNodes) -> None:
    nodes = start_nodes(of_its_version, "older", "later")
    for victim, survivor in (nodes, nodes[::-1]):
        cookie = new_session(victim, user=victim.route)
        assert data(survivor, cookie) == {"user": victim.route}
        assert post(survivor, "/api/set", cookie, {"key": "seen", "value": 1}).status == 200
        assert post(victim, "/api/set", cookie, {"key": "n", "value": 2}).status == 200
        victim.kill()
        reply = get(survivor, "/api/session", cookie)
        assert reply.data["data"] == {"user": victim.route, "seen": 1, "n": 2}
        assert reply.cookie == f"{cookie.partition('.')[0]}.{survivor.route}"
        victim.start()
        for node in nodes:
            wait_for(lambda n=node: settled(n, 1), f"{node.route} to be ready")
        assert data(victim, cookie) == {"user": victim.route, "seen": 1, "n": 2}
    older, later = (agent_status(node)["counters"] for node in nodes)
    assert older["dropped: message: a message of an unknown kind"] > 0
    assert not [name for name in later if name.startswith("dropped")]


def test_workers_work_with_an_agent_of_the_other_version(start_nodes: StartNodes) -> None:
    """The library is exchanged and the server restarted, while the agent lingers."""
    nodes = start_nodes(of_its_version, "older", "later")
    cookies = [new_session(node, user=node.route) for node in nodes]
    agents = [agent_status(node)["agent_pid"] for node in nodes]
    tree = dict(nodes[1].program.environment)["PYTHONPATH"]
    for node, path in zip(nodes, (tree, os.environ.get("PYTHONPATH", "")), strict=True):
        node.program.stop()
        node.program.environment = {**node.program.environment, "PYTHONPATH": path}
        node.start()
        wait_for(
            lambda n=node: get(n, "/api/whoami") and agent_status(n).get("workers"), "a worker"
        )
    assert [agent_status(node)["agent_pid"] for node in nodes] == agents
    for node, other, cookie in zip(nodes, nodes[::-1], cookies, strict=True):
        assert data(node, cookie) == {"user": node.route}
        reply = post(node, "/api/set", cookie, {"key": "n", "value": 2})
        assert (reply.status, reply.cookie) == (200, None)
        assert data(other, cookie) == {"user": node.route, "n": 2}
        status = agent_status(node)
        assert not [name for name in status["counters"] if name.startswith("requests of")]
        lines = node.program.log_path.read_text()
        assert "no peer confirmed" not in lines
        assert "no other node is connected" not in lines
