"""Runs a node of the demo and of the tests: an app server with its agent, and its log."""

import re
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clustersession.tools.demo.processes import (
    Program,
    StepFailed,
    accepts_connections,
    free_port,
    kill_node,
    node_pids,
    wait_for,
)

COOKIE_NAME = "CLUSTERSESSION"
CLUSTER_PORTS = 20
KILL_TIMEOUT_S = 5.0


@dataclass(slots=True)
class Node:
    """Is a node that can be started, killed and started again.

    ``port`` is the balancer's, ``direct_port`` answers HTTP to us: the same, unless the balancer
    speaks something else to its nodes.
    """

    route: str
    port: int
    directory: Path
    program: Program
    direct_port: int

    @property
    def state_dir(self) -> Path:
        """Return the directory that marks every process of this node."""
        return self.directory / "state"

    def start(self, deadline_s: float = 20.0) -> None:
        """Start it, or start it again, and wait until it accepts connections."""
        self.launch()
        self.wait_until_up(deadline_s)

    def launch(self) -> None:
        """Start it, without waiting."""
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.program.start()

    def wait_until_up(self, deadline_s: float = 20.0) -> None:
        """Wait until it accepts connections."""
        self.program.wait_until_listening(self.port, deadline_s)
        self.program.wait_until_listening(self.direct_port, deadline_s)

    def pids(self) -> list[int]:
        """List its live processes, agent included."""
        return node_pids(self.state_dir)

    def kill(self) -> list[int]:
        """End every process of the node with kill -9; return their ids."""
        pids = kill_node(self.state_dir)
        if self.program.process is not None:
            self.program.process.wait()
        # What says whose a process is goes before its sockets do.
        wait_for(lambda: not accepts_connections(self.port), f"{self.route} to refuse connections",
                 KILL_TIMEOUT_S)
        return pids

    def stop(self) -> None:
        """End the server politely, then whatever is left of the node."""
        self.program.stop()
        kill_node(self.state_dir)

    def log_lines(self) -> list[str]:
        """Read what the agent has logged, or the server while there is no agent.

        Not both: the agent passes its lines on to a worker, which logs them once more.
        """
        paths = sorted(self.state_dir.rglob("*.log")) or [self.program.log_path]
        text = "\n".join(path.read_text(errors="replace") for path in paths if path.exists())
        return text.splitlines()

    def lines_about(self, route: str, event: re.Pattern[str]) -> list[str]:
        """Read the log lines that report an event of the member with that route."""
        name = re.compile(rf"\b{re.escape(route)}\b")
        return [line for line in self.log_lines() if name.search(line) and event.search(line)]

    def wait_for_line(
        self, route: str, event: re.Pattern[str], after: int = 0, deadline_s: float = 15.0
    ) -> list[str]:
        """Return the lines about an event once there are more than ``after`` of them."""
        def grown() -> list[str]:
            lines = self.lines_about(route, event)
            return lines if len(lines) > after else []

        try:
            return wait_for(grown, f"{self.route} to log {event.pattern} of {route}", deadline_s)
        except StepFailed as error:
            tail = "\n".join(self.log_lines()[-15:])
            raise StepFailed(f"{error}; its log ends:\n{tail}") from None


@dataclass(frozen=True, slots=True)
class ClusterPorts:
    """Holds secret, name and ports of one run, its own so that runs side by side never meet."""

    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    name: str = field(default_factory=lambda: f"run-{secrets.token_hex(4)}")
    multicast_port: int = field(default_factory=lambda: free_port(socket.SOCK_DGRAM))
    first_port: int = field(default_factory=lambda: free_port(count=CLUSTER_PORTS))

    def environment(self, route: str, state_dir: Path) -> dict[str, str]:
        """Make the settings of one node."""
        return {
            "CLUSTERSESSION_DISTRIBUTABLE": "true",
            "CLUSTERSESSION_CLUSTER_NAME": self.name,
            "CLUSTERSESSION_SECRET": self.secret,
            "CLUSTERSESSION_ROUTE": route,
            "CLUSTERSESSION_STATE_DIR": str(state_dir),
            "CLUSTERSESSION_BIND": "127.0.0.1",
            "CLUSTERSESSION_PORT": str(self.first_port),
            "CLUSTERSESSION_PORT_RANGE": str(CLUSTER_PORTS),
            "CLUSTERSESSION_MULTICAST_PORT": str(self.multicast_port),
        }


def make_node(
    route: str,
    directory: Path,
    ports: ClusterPorts,
    server_command: Sequence[str],
    *,
    app_directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Node:
    """Make a node; it is not started.

    "{port}" in the command becomes its listening port, "{direct_port}" one more.
    """
    node_directory = directory / route
    node_directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    direct_port = free_port() if "{direct_port}" in server_command else port
    settings = ports.environment(route, node_directory / "state")
    program = Program(
        [
            part.replace("{port}", str(port)).replace("{direct_port}", str(direct_port))
            for part in server_command
        ],
        log_path=node_directory / "server.log",
        environment={**settings, "PYTHONUNBUFFERED": "1", **(environment or {})},
        directory=app_directory,
    )
    return Node(route, port, node_directory, program, direct_port)


def uvicorn_command(app: str) -> list[str]:
    """Tell how uvicorn is started with one worker."""
    return [
        sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", "{port}",
        "--log-level", "info", "--no-access-log",
    ]
