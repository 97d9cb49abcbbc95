"""kill -9 the agent under load, again and again: how long until another is up, is anything lost?

    python -m benchmarks.agent_failover [kills]

A node of four workers under writes by four clients, and a peer. After each kill the time until a
new agent answers is measured; writes wait for it. At the end every acknowledged write must be on
both nodes.
"""

import contextlib
import http.client
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.kills import APP_DIRECTORY, call, ready
from benchmarks.nodes import percentiles, wait_until
from clustersession.net.agent_link import AgentGone, ask_once
from clustersession.replica.home import NodeHome
from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node, uvicorn_command
from clustersession.wire.local import Operation

CLIENTS = 4
WORKERS = 4
KEYS = 20
PAUSE_S = 1.0


class Client(threading.Thread):
    """Writes numbers to the keys of one session and remembers what was acknowledged."""

    def __init__(self, node: Node, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.node = node
        self.stop = stop
        self.cookie = ""
        self.acknowledged: dict[str, int] = {}
        self.unknown: dict[str, set[int]] = {}
        self.latencies_s: list[float] = []

    def run(self) -> None:
        """Write until told to stop."""
        number = 0
        while not self.stop.is_set():
            number += 1
            key, began_s = f"k{number % KEYS}", time.perf_counter()
            try:
                given, _ = call(
                    self.node, "POST", "/", self.cookie, {"key": key, "value": number}
                )
            except (OSError, http.client.HTTPException):
                self.unknown.setdefault(key, set()).add(number)
                continue
            self.cookie = given or self.cookie
            self.latencies_s.append(time.perf_counter() - began_s)
            self.acknowledged[key] = number
            self.unknown.pop(key, None)

    def lost(self, node: Node) -> list[str]:
        """The keys whose last acknowledged value, or a later one, a node does not have."""
        _, answer = call(node, "GET", "/", self.cookie)
        return [
            key for key, number in self.acknowledged.items()
            if answer["data"].get(key) not in {number, *self.unknown.get(key, ())}
        ]


def main(kills: int = 50) -> None:
    """Kill, measure, compare."""
    with tempfile.TemporaryDirectory(prefix="clustersession-failover-") as directory:
        ports = ClusterPorts()
        one = uvicorn_command("benchmarks.plain_app:app")
        several = [*one, "--workers", str(WORKERS)]
        nodes = [
            make_node(route, Path(directory), ports, command, app_directory=APP_DIRECTORY)
            for route, command in (("tomcat1", several), ("tomcat2", one))
        ]
        try:
            for node in nodes:
                node.start()
            for node in nodes:
                wait_until(lambda n=node: ready(n), f"{node.route} to be ready")
            measure(nodes, kills)
        finally:
            for node in nodes:
                node.stop()


def measure(nodes: list[Node], kills: int) -> None:
    """The kills, and what is left afterwards."""
    victim = nodes[0]
    (home,) = (NodeHome(path.parent) for path in victim.state_dir.glob("*/replica"))
    stop = threading.Event()
    clients = [Client(victim, stop) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    times_s = []
    for _ in range(kills):
        time.sleep(PAUSE_S)
        wait_until(lambda: workers_of(home) == WORKERS, "all workers to be attached")
        killed = pid_of(home)
        os.kill(killed, signal.SIGKILL)
        times_s.append(wait_until(lambda k=killed: pid_of(home) not in (0, k), "another agent"))
    time.sleep(PAUSE_S)
    stop.set()
    for client in clients:
        client.join(20)
    for node in nodes:
        wait_until(lambda n=node: ready(n), f"{node.route} to be ready")
    lost = [key for client in clients for node in nodes for key in client.lost(node)]
    latencies_s = [s for client in clients for s in client.latencies_s]
    unknown = sum(len(numbers) for client in clients for numbers in client.unknown.values())
    warnings = victim.program.log_path.read_text().count("no peer confirmed")
    starts = home.agent_log.read_text().count("starts in cluster")
    print(f"agent killed {kills} times, {starts} starts; seconds until another answered: "
          f"{percentiles(times_s)}; within a second: {sum(s <= 1 for s in times_s)}")
    print(f"{len(latencies_s)} writes acknowledged, seconds each: {percentiles(latencies_s)}")
    print(f"lost: {len(lost)}; without an answer: {unknown}; "
          f"warnings of unconfirmed writes: {warnings}")


def status_of(home: NodeHome) -> dict:
    """What the agent says; nothing while there is none."""
    with contextlib.suppress(AgentGone, TimeoutError):
        return ask_once(home.agent_socket, Operation.STATUS)
    return {"agent_pid": 0, "workers": []}


def pid_of(home: NodeHome) -> int:
    """The agent's process, 0 while there is none."""
    return status_of(home)["agent_pid"]


def workers_of(home: NodeHome) -> int:
    """How many workers are attached."""
    return len(status_of(home)["workers"])


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
