"""Write on one node, take the response, kill -9 the node at once, read on the other. Again.

    python -m benchmarks.kills [rounds] [ack]

Every process of the node dies, worker and agent, right after the response. Prints how many of the
acknowledged writes the survivor still had; with ``ack="none"`` that number is what it costs.
"""

import http.client
import json
import sys
import tempfile
import time
from pathlib import Path

from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import status
from clustersession.replica.home import NodeHome
from clustersession.tools.demo.nodes import (
    COOKIE_NAME,
    ClusterPorts,
    Node,
    make_node,
    uvicorn_command,
)
from clustersession.tools.demo.processes import kill_hard, wait_for

# Not this directory: a module of it would stand for one of the standard library.
APP_DIRECTORY = Path(__file__).parents[1]


def main(rounds: int = 1000, ack: str = "one") -> None:
    """Run the rounds and print the count."""
    present, began_s = 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="clustersession-kills-") as directory:
        ports = ClusterPorts()
        nodes = [
            make_node(
                route, Path(directory), ports, uvicorn_command("benchmarks.plain_app:app"),
                app_directory=APP_DIRECTORY, environment={"CLUSTERSESSION_ACK": ack},
            )
            for route in ("tomcat1", "tomcat2")
        ]
        try:
            for node in nodes:
                node.start()
            for number in range(1, rounds + 1):
                for node in nodes:
                    wait_for(lambda n=node: ready(n), f"{node.route} to be ready", 30)
                victim, survivor = nodes[number % 2], nodes[1 - number % 2]
                pids = victim.pids()
                cookie, _ = call(victim, "POST", "/", "", {"key": "n", "value": number})
                kill_hard(pids)
                victim.kill()
                _, data = call(survivor, "GET", "/", cookie)
                present += data["data"] == {"n": number}
                if number % 50 == 0 or number == rounds:
                    took_s = time.monotonic() - began_s
                    print(f"ack={ack}: {present} of {number} present, {took_s:.0f} s", flush=True)
                victim.start()
        finally:
            for node in nodes:
                node.stop()


def call(
    node: Node, method: str, path: str, cookie: str, body: object = None
) -> tuple[str, dict]:
    """One request on a fresh connection; the cookie that was set, and the JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", node.direct_port, timeout=20)
    try:
        headers = {"Content-Type": "application/json", "Cookie": f"{COOKIE_NAME}={cookie}"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise SystemExit(f"{node.route} answered {response.status}: {content[:200]!r}")
        value = response.getheader("Set-Cookie", "").partition(";")[0].partition("=")[2]
        return value, json.loads(content)
    finally:
        connection.close()


def ready(node: Node) -> bool:
    """Whether the node has joined and sees the other, ready too."""
    homes = [path.parent for path in node.state_dir.glob("*/replica")]
    if not homes:
        return False
    try:
        seen = status(NodeHome(homes[0]))
    except (AgentGone, TimeoutError):
        return False
    others = [m for m in seen["members"] if m["status"] == "alive" and m["phase"] == "ready"]
    return seen["phase"] == "ready" and len(others) == 1


if __name__ == "__main__":
    main(*(int(a) if a.isdigit() else a for a in sys.argv[1:]))
