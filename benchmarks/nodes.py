"""Nodes for the benchmarks: agents in processes of their own, this process as their worker."""

import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clustersession.core.state import Change, Creation
from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import ask_agent
from clustersession.replica.home import NodeHome, open_node_replica
from clustersession.replica.opening import LmdbReplica
from clustersession.replica.results import Committed
from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings
from clustersession.tools.demo.processes import free_port, kill_node
from clustersession.wire.local import Operation
from clustersession.worker.agent_client import AgentClient
from clustersession.worker.completion import complete
from clustersession.worker.places import node_home
from tests.support.namespaces import Host


@dataclass
class BenchNode:
    """One node: its replica open here, its agent a process started by ``start_agent``."""

    settings: Settings
    home: NodeHome
    replica: LmdbReplica
    client: AgentClient | None = None
    agent: "subprocess.Popen[bytes] | None" = None
    host: Host | None = None

    def environment(self) -> dict[str, str]:
        """What a process needs to be the agent or a worker of this node."""
        names = ("distributable", "cluster_name", "route", "state_dir", "bind", "port", "store",
                 "multicast_address", "multicast_port", "carrier", "ack", "drop_time_s", "seeds",
                 "near_cache_idle_s", "near_cache_bytes_max", "map_bytes", "durability")
        return {
            **os.environ,
            **{f"CLUSTERSESSION_{n.upper()}": _text(getattr(self.settings, n)) for n in names},
            "CLUSTERSESSION_SECRET": self.settings.secret[0],
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        }

    def start_agent(self) -> None:
        """Run the agent in the foreground of a process of its own."""
        with self.home.agent_log.open("ab") as log:
            start = subprocess.Popen if self.host is None else self.host.start
            self.agent = start(
                [sys.executable, "-m", "clustersession", "agent"],
                env=self.environment(), stdout=log, stderr=log,
            )

    @property
    def pid(self) -> int:
        """The agent's process."""
        assert self.agent is not None
        return self.agent.pid

    def cpu_s(self) -> float:
        """Processor seconds that the agent has used."""
        return process_cpu_s(self.pid)

    def attach(self) -> None:
        """Be a worker of this node."""
        self.client = AgentClient(self.settings, self.home, self.replica)

    def status(self) -> dict[str, Any]:
        """What its agent says; nothing while there is none."""
        try:
            seen: dict[str, Any] = ask_agent(self.home, Operation.STATUS)
            return seen
        except (AgentGone, TimeoutError):
            return {"phase": "", "members": []}

    def is_ready(self, members: int) -> bool:
        """Ready and connected with so many others that are."""
        seen = self.status()
        alive = sum(m["status"] == "alive" and m["phase"] == "ready" for m in seen["members"])
        return seen["phase"] == "ready" and alive >= members

    def memory_kib(self) -> dict[str, int]:
        """Peak and present memory of the agent, from the kernel."""
        assert self.agent is not None
        text = Path(f"/proc/{self.agent.pid}/status").read_text()
        found = dict(re.findall(r"^(VmHWM|VmRSS|RssAnon|RssFile):\s+(\d+) kB", text, re.M))
        return {name: int(value) for name, value in found.items()}

    @staticmethod
    def creation(now_ms: int) -> Creation:
        """Of a session that outlives the benchmark."""
        return Creation(now_ms, now_ms + 86_400_000, 1_800_000)

    def write(self, key: str, value: bytes, create: bool = False) -> int:
        """Commit one attribute; returns the feed's head."""
        return self.commit(key, value, create).head

    def commit(self, key: str, value: bytes, create: bool = False) -> Committed:
        """Commit one attribute."""
        now_ms = time.time_ns() // 1_000_000
        creation = self.creation(now_ms) if create else None
        committed = self.replica.commit(
            [Change(key, now_ms, {"value": value}, creation=creation)], now_ms
        )
        assert committed.effective
        return committed


def open_worker(settings: Settings, home: NodeHome) -> tuple[LmdbReplica, AgentClient]:
    """Be a worker in a process of its own, attached to the node's agent."""
    replica = open_node_replica(home, settings)
    client = AgentClient(settings, home, replica)
    client.wait_until_attached(10.0)
    return replica, client


@contextmanager
def bench_nodes(
    count: int, *, hosts: Sequence[Host] = (), binds: Sequence[str] = (), **settings: Any
) -> Iterator[list[BenchNode]]:
    """Nodes in a temporary directory; everything is gone at the end.

    Their agents are on loopback, or each on a host of its own; the files are shared either way.
    ``binds``: where each listens, other than at 127.0.0.1 or the address of its host.
    """
    with tempfile.TemporaryDirectory(prefix="clustersession-bench-") as directory:
        common = {
            "distributable": True, "bind": "127.0.0.1", "state_dir": directory,
            "cluster_name": f"bench-{secrets.token_hex(4)}", "secret": secrets.token_urlsafe(32),
            "agent": "external", "multicast_port": free_port(), "port": free_port(), **settings,
        }
        nodes = []
        try:
            for number in range(1, count + 1):
                host = hosts[number - 1] if hosts else None
                bind = {} if host is None else {"bind": host.address}
                if binds:
                    bind = {"bind": binds[number - 1]}
                own = complete(load_settings(**{**common, **bind, "route": f"node{number}"}))
                home = node_home(own)
                nodes.append(BenchNode(own, home, open_node_replica(home, own), host=host))
            yield nodes
        finally:
            for node in nodes:
                if node.client is not None:
                    node.client.close()
                if node.agent is not None:
                    node.agent.terminate()
                    node.agent.wait(10)
                node.replica.close()
            kill_node(Path(directory))


@contextmanager
def joined_nodes(count: int, **settings: Any) -> Iterator[list[BenchNode]]:
    """``bench_nodes`` that all run, see each other and have us as their worker."""
    with bench_nodes(count, **settings) as nodes:
        for node in nodes:
            node.start_agent()
        for node in nodes:
            wait_until(lambda n=node: n.status()["phase"], "an agent")
            node.attach()
        for node in nodes:
            wait_until(lambda n=node: n.is_ready(count - 1), f"{count} nodes to meet")
        yield nodes


def process_cpu_s(pid: int) -> float:
    """Processor seconds that a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until(condition: Callable[[], object], what: str, deadline_s: float = 60.0) -> float:
    """Seconds until the condition held."""
    started_s = time.perf_counter()
    while not condition():
        if time.perf_counter() - started_s > deadline_s:
            raise SystemExit(f"waited {deadline_s:.0f} s in vain for {what}")
        time.sleep(0.01)
    return time.perf_counter() - started_s


def key(number: int) -> str:
    """A session key."""
    return f"1{number:022d}"


def p50_p99_max(values: Sequence[float]) -> tuple[float, float, float]:
    """What is told of a distribution."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1]


def percentiles(values: list[float]) -> str:
    """p50, p99 and maximum."""
    p50, p99, most = p50_p99_max(values)
    return f"p50 {p50:.3f}  p99 {p99:.3f}  max {most:.3f}"


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
