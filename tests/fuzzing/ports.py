"""Real agents under attack on their real ports: what it costs them, and whether they go on.

    python -m tests.fuzzing.ports --datagrams 200000 --connections 2000 --loris 200 --mute 8

Two agents of one cluster run on loopback. This process writes to the replica of the first as its
worker would, and waits for the second to confirm, before, during and after each attack.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clustersession.core.state import Change, Creation
from clustersession.net.agent_link import AgentGone, BlockingLink
from clustersession.replica.home import open_node_replica
from clustersession.settings.sources import load_settings
from clustersession.tools.demo.nodes import ClusterPorts
from clustersession.wire.local import Operation
from clustersession.worker.completion import complete
from clustersession.worker.places import node_home
from tests.support.processes import wait_for

GROUP = "228.0.0.4"
ROOT = Path(__file__).parents[2]
MIB = 2**20
VALUE_BYTES = 20_000


class LiveNode:
    """One agent, and a worker of its node that writes."""

    def __init__(self, route: str, directory: Path, ports: ClusterPorts, **more: str) -> None:
        self.ports = ports
        environment = {**ports.environment(route, directory / route), **more}
        self._environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
        values = {
            name.removeprefix("CLUSTERSESSION_").lower(): value
            for name, value in environment.items()
        }
        for name in ("port", "port_range", "multicast_port"):
            values[name] = int(values[name])  # type: ignore[assignment]
        self.settings = complete(load_settings(**{**values, "distributable": True}))
        self.home = node_home(self.settings)
        self._written = 0

    @contextmanager
    def running(self) -> Iterator["LiveNode"]:
        """The agent, as long as the block lasts."""
        command = [sys.executable, "-m", "clustersession", "agent"]
        with tempfile.TemporaryFile("w+") as self._log:
            self.process = subprocess.Popen(
                command, env=self._environment, stderr=self._log, cwd=ROOT
            )
            try:
                wait_for(lambda: self.status().get("phase") == "ready", "the agent to be ready")
                self.link = BlockingLink(self.home.agent_socket)
                self.link.ask(Operation.ATTACH, os.getpid(), timeout_s=5)
                self.replica = open_node_replica(self.home, self.settings)
                yield self
                self.replica.close()
                self.link.close()
            finally:
                self.process.terminate()
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait(10)

    def status(self) -> dict[str, Any]:
        """What the agent says of itself; nothing when there is none."""
        try:
            link = BlockingLink(self.home.agent_socket)
        except AgentGone:
            return {}
        try:
            answer: dict[str, Any] = link.ask(Operation.STATUS, timeout_s=5)
            return answer
        except (AgentGone, TimeoutError):
            return {}
        finally:
            link.close()

    @property
    def address(self) -> tuple[str, str]:
        """Host and port of its TCP receiver."""
        host, _, port = self.status()["address"].rpartition(":")
        return host, port

    def members(self) -> set[str]:
        """The routes of the living members it sees."""
        seen = self.status().get("members", [])
        return {m["route"] for m in seen if m["status"] == "alive"}

    def anonymous_bytes(self) -> int:
        """Its memory without the pages of the replica's file."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        return 0

    def log_lines(self) -> list[str]:
        """What it has logged."""
        return Path(f"/proc/self/fd/{self._log.fileno()}").read_text().splitlines()

    def write(self, size: int = 10) -> float:
        """Commit, and wait for a peer to confirm; how long that took. Raises AssertionError."""
        self._written += 1
        wall_ms = time.time_ns() // 10**6
        creation = Creation(wall_ms, wall_ms + 10**8, 10**7)
        change = Change(
            f"1{self._written:022d}", wall_ms, {"n": os.urandom(size)}, creation=creation
        )
        begin_s = time.monotonic()
        head = self.replica.commit([change], wall_ms).head
        answer = self.link.ask(Operation.CONFIRM, head, False, 5000, timeout_s=8)
        assert answer >= 1, f"a write was not confirmed: {answer}"
        return time.monotonic() - begin_s


@dataclass
class Cost:
    """What an attack did to the node under attack, and to who waits for it."""

    name: str
    words: str = ""
    before_bytes: int = 0
    most_bytes: int = 0
    lines: list[str] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def grown_bytes(self) -> int:
        """How much memory it took at most."""
        return self.most_bytes - self.before_bytes

    def wait_s(self, part: float) -> float:
        """The wait for a confirmation that only this part of the writes exceeded."""
        return sorted(self.waits_s)[min(len(self.waits_s) - 1, int(part * len(self.waits_s)))]

    def __str__(self) -> str:
        return (
            f"{self.name:12} {self.took_s:5.1f} s; memory {self.before_bytes / MIB:.0f} MiB and "
            f"{self.grown_bytes / MIB:+.1f} at most; {len(self.lines)} log lines; "
            f"{len(self.waits_s)} writes confirmed, p50 {1000 * self.wait_s(0.5):.1f} ms, "
            f"p99 {1000 * self.wait_s(0.99):.1f} ms, max {1000 * max(self.waits_s):.0f} ms; "
            f"{self.words}"
        )


def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start an attacker and wait until it is under way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzzing.attackers", *arguments], text=True, cwd=ROOT,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def measure(name: str, node: LiveNode, attack: Sequence[str], size: int = 10, **env: str) -> Cost:
    """Write to a node while it is attacked, and look at what that costs."""
    lines_before = len(node.log_lines())
    cost = Cost(name, before_bytes=node.anonymous_bytes())
    attacker = begin(*attack, **env)
    begin_s = time.monotonic()
    try:
        while attacker.poll() is None:
            cost.waits_s.append(node.write(size))
            cost.most_bytes = max(cost.most_bytes, node.anonymous_bytes())
    finally:
        attacker.kill()
        output, _ = attacker.communicate()
    cost.took_s = time.monotonic() - begin_s
    cost.words = output.strip()
    cost.most_bytes = max(cost.most_bytes, node.anonymous_bytes())
    cost.lines = node.log_lines()[lines_before:]
    assert attacker.returncode == 0, "the attacker failed"
    return cost


@contextmanager
def pair(directory: Path, **more: str) -> Iterator[list[LiveNode]]:
    """Two agents that see each other."""
    ports = ClusterPorts()
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(LiveNode(route, directory, ports, **more).running())
            for route in ("tomcat1", "tomcat2")
        ]
        for node, other in (nodes, nodes[::-1]):
            wait_for(lambda n=node, o=other: o.settings.route in n.members(), "the members")
        for _ in range(20):
            nodes[0].write()
        yield nodes


def attacks(node: LiveNode, options: argparse.Namespace) -> Iterator[Cost]:
    """One attack after another."""
    host, port = node.address
    group = (GROUP, str(node.ports.multicast_port))
    secret = {"TEST_SECRET": node.ports.secret, "TEST_CLUSTER": node.ports.name}
    yield measure("datagrams", node, ["datagrams", *group, str(options.datagrams)])
    yield measure("connections", node, ["connections", host, port, str(options.connections)])
    seconds = str(options.seconds)
    yield measure("slow loris", node, ["loris", host, port, str(options.loris), seconds])
    for _ in range(options.sessions):
        node.write(VALUE_BYTES)
    mute = ["mute", host, port, str(options.mute), seconds]
    yield measure("mute peers", node, mute, VALUE_BYTES, **secret)
    yield measure("that also ask", node, [*mute, "asks"], VALUE_BYTES, **secret)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing.ports")
    parser.add_argument("--datagrams", type=int, default=200_000)
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--loris", type=int, default=200, help="slow handshakes at a time")
    parser.add_argument("--mute", type=int, default=8, help="peers that never read")
    parser.add_argument("--sessions", type=int, default=500, help="of 20 kB, for the mute to want")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, pair(Path(directory)) as nodes:
        quiet = Cost("quiet", before_bytes=nodes[0].anonymous_bytes())
        quiet.waits_s = [nodes[0].write() for _ in range(300)]
        quiet.most_bytes = nodes[0].anonymous_bytes()
        print(quiet, flush=True)
        for cost in attacks(nodes[0], options):
            print(cost, flush=True)
            for line in cost.lines[:12]:
                print(f"    {line[:150]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
