"""kill -9 of a whole node: until the survivors know, and until the balancer's users are served.

    python -m benchmarks failover

Detected: three agents, one is killed; each survivor is asked again and again whether it still takes
it for a member. Served: two nodes behind HAProxy, all processes of the one that owns the session
are killed, and its user asks until the answer is good and holds what was written before the kill.
"""

import http.client
import json
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.kills import APP_DIRECTORY, call, ready
from benchmarks.nodes import BenchNode, joined_nodes, p50_p99_max, wait_until
from benchmarks.result import Chart, Result, Table, Target
from clustersession.tools.demo.balancers import make_balancer
from clustersession.tools.demo.nodes import COOKIE_NAME, ClusterPorts, make_node, uvicorn_command
from clustersession.tools.demo.processes import free_port, kill_hard, wait_for

LOOK_S = 0.002
ANSWER_DEADLINE_S = 10.0


def run(small: bool) -> Result:
    """Both."""
    result = Result("Failover")
    rounds = 10 if small else 50
    detected = _detections(rounds)
    served = _answers(rounds)
    result.tables.append(Table(
        f"kill -9 of a node, {rounds} times, milliseconds", ("", "p50", "p99", "max"),
        [("all survivors know (of 3 nodes)", *p50_p99_max(detected)),
         ("first good answer through HAProxy (of 2 nodes)", *p50_p99_max(served))],
    ))
    result.targets = [
        Target("kill -9 detected, p50", p50_p99_max(detected)[0], 100, unit="ms"),
        Target("kill -9 detected, max", max(detected), 500, unit="ms"),
        Target("first good answer, p50", p50_p99_max(served)[0], 150, unit="ms"),
    ]
    result.charts = [Chart(
        "After kill -9 of a node", "milliseconds", ("p50", "p99", "max"),
        {"survivors know": p50_p99_max(detected), "first good answer": p50_p99_max(served)},
    )]
    result.raw = {"detected_ms": detected, "served_ms": served}
    return result


def _detections(rounds: int) -> list[float]:
    taken = []
    with joined_nodes(3) as nodes:
        for number in range(rounds):
            victim = nodes[number % 3]
            survivors = [node for node in nodes if node is not victim]
            for node in nodes:
                wait_until(lambda n=node: n.is_ready(2), "three nodes to meet")
            assert victim.agent is not None
            victim.agent.kill()
            started_s = time.perf_counter()
            waiting = list(survivors)
            while waiting:
                waiting = [node for node in waiting if not _knows(node, victim)]
                if time.perf_counter() - started_s > ANSWER_DEADLINE_S:
                    raise SystemExit("a dead node was never detected")
                time.sleep(LOOK_S)
            taken.append((time.perf_counter() - started_s) * 1000)
            victim.agent.wait()
            victim.start_agent()
    return taken


def _knows(survivor: BenchNode, victim: BenchNode) -> bool:
    route = victim.settings.route
    seen = [m for m in survivor.status()["members"] if m["route"] == route]
    return bool(seen) and all(member["status"] == "dead" for member in seen)


def _answers(rounds: int) -> list[float]:
    if shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None:
        raise SystemExit("haproxy is not installed")
    taken = []
    with tempfile.TemporaryDirectory(prefix="clustersession-failover-") as name:
        ports = ClusterPorts()
        nodes = [
            make_node(route, Path(name), ports, uvicorn_command("benchmarks.plain_app:app"),
                      app_directory=APP_DIRECTORY)
            for route in ("node1", "node2")
        ]
        port = free_port()
        _, balancer = make_balancer(port, {node.route: node.port for node in nodes}, Path(name))
        try:
            for node in nodes:
                node.start()
            balancer.start()
            balancer.wait_until_listening(port)
            for number in range(rounds):
                for node in nodes:
                    wait_for(lambda n=node: ready(n), f"{node.route} to be ready", 30)
                victim = nodes[number % 2]
                pids = victim.pids()
                cookie, _ = call(victim, "POST", "/", "", {"key": "n", "value": number})
                # The balancer must not know already, from the last round.
                wait_for(
                    lambda c=cookie, n=number: _answer(port, c) == {"n": n}, "the balancer", 30
                )
                kill_hard(pids)
                started_s = time.perf_counter()
                while _answer(port, cookie) != {"n": number}:
                    if time.perf_counter() - started_s > ANSWER_DEADLINE_S:
                        raise SystemExit("no good answer after a kill")
                    time.sleep(LOOK_S)
                taken.append((time.perf_counter() - started_s) * 1000)
                victim.kill()
                victim.start()
        finally:
            balancer.stop()
            for node in nodes:
                node.stop()
    return taken


def _answer(port: int, cookie: str) -> object:
    """What the session holds, asked on a fresh connection; None for anything but a 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_DEADLINE_S)
    try:
        connection.request("GET", "/", headers={"Cookie": f"{COOKIE_NAME}={cookie}"})
        response = connection.getresponse()
        content = response.read()
        return json.loads(content)["data"] if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
