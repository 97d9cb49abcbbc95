"""Two hosts that move between modes, users who click all the time, and an operator at a shell.

As in ``stand.py``, ``systemctl`` acts on the node's processes as systemd acts on a unit, the agent
included, and names and paths of the document are replaced by ours.
"""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from clustersession.tools.demo.nodes import ClusterPorts, Node
from clustersession.tools.demo.processes import wait_for
from tests.drill.document import EACH, Command, Step
from tests.drill.shell import BIN, Shell
from tests.support.apps import fastapi_under_uvicorn
from tests.system.client import Reply, agent_status, get, post

ROUTES = ("tomcat1", "tomcat2")
UNIT_FILE = "/etc/shop.env"
SEEN_WITHIN_S = 30.0
PAUSE_S = 0.05
OF_A_CLUSTER = ("CLUSTERSESSION_DISTRIBUTABLE", "CLUSTERSESSION_SECRET")


class Hosts:
    """The two nodes, each with its unit file, and the operator."""

    def __init__(self, directory: Path, store_url: str) -> None:
        ports = ClusterPorts()
        self.store_url = store_url
        self.nodes = [fastapi_under_uvicorn(route, directory, ports) for route in ROUTES]
        self.up: list[Node] = []
        for node in self.nodes:
            node.program.environment["CLUSTERSESSION_AGENT_LINGER_S"] = "1"
            kept = {
                name: value for name, value in node.program.environment.items()
                if name.startswith("CLUSTERSESSION_") and name not in OF_A_CLUSTER
            }
            self.unit_file(node).write_text("".join(f"{n}={v}\n" for n, v in kept.items()))
        self._shells = {node.route: self._shell(node) for node in self.nodes}

    def _shell(self, node: Node) -> Shell:
        shell = Shell(subprocess.Popen, node.directory, PATH=f"{BIN}:{os.environ['PATH']}")
        shell.run(f"set -a; . {self.unit_file(node)}; set +a; ssh() {{ eval \"$2\"; }}")
        return shell

    def unit_file(self, node: Node) -> Path:
        """Where the service's settings are."""
        return node.directory / "shop.env"

    def node(self, route: str) -> Node:
        """By its route."""
        return self.nodes[ROUTES.index(route)]

    def perform(self, step: Step, look: Callable[[], None]) -> None:
        """Type everything that the step says, and see what it shows.

        look: is called around whatever stops or starts a node.
        """
        for route in ROUTES if step.nodes(len(ROUTES)) else ("",):
            for command in step.commands:
                node = self.node(route if command.host == EACH else command.host)
                if command.text.startswith("systemctl"):
                    look()
                self._type(node, command)
                if command.text.startswith("systemctl"):
                    look()

    def _type(self, node: Node, command: Command) -> None:
        text = self._translated(command.text, node)
        shown = tuple(self._translated(line, node) for line in command.shown)
        wanted = Command(node.route, text, shown)
        output, status = "", 0

        def seen() -> bool:
            nonlocal output, status
            output, status = self._run(node, text)
            return not wanted.missing(output)

        if text.startswith(("clustersession status", "clustersession members")):
            with contextlib.suppress(Exception):
                wait_for(seen, text, SEEN_WITHIN_S)
        else:
            seen()
        missing = wanted.missing(output)
        assert not missing, f"{node.route}$ {text}\nlacks {missing!r}:\n{output}"
        assert status == 0, f"{node.route}$ {text}\nexits with {status}:\n{output}"

    def _translated(self, text: str, node: Node) -> str:
        def there(found: re.Match[str]) -> str:
            file = str(self.unit_file(self.node(found[1])))
            return found[0].replace(UNIT_FILE, file)

        text = re.sub(r'ssh (\w+) ".*?"', there, text.replace(EACH, node.route))
        text = text.replace(UNIT_FILE, str(self.unit_file(node)))
        return text.replace("STORE_URL", self.store_url)

    def _run(self, node: Node, text: str) -> tuple[str, int]:
        match text.split():
            case ["systemctl", "stop", "shop"]:
                self.stop(node)
                return "", 0
            case ["systemctl", "start", "shop"]:
                self.start(node)
                return "", 0
        return self._shells[node.route].run(text)

    def start(self, node: Node) -> None:
        """As systemd does: with what the unit file says now."""
        environment = node.program.environment
        for name in [name for name in environment if name.startswith("CLUSTERSESSION_")]:
            del environment[name]
        lines = self.unit_file(node).read_text().splitlines()
        environment.update(line.split("=", 1) for line in lines)
        node.start()
        # The balancer sends users once it is ready.
        wait_for(lambda: get(node, "/-/ready").status == 200, f"{node.route} to be ready")
        self.up.append(node)

    def stop(self, node: Node) -> None:
        """As systemd does: the whole control group."""
        if node in self.up:
            self.up.remove(node)
        agent = agent_status(node).get("agent_pid")
        node.program.stop()
        if agent is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(agent, signal.SIGTERM)
            wait_for(lambda: agent not in node_agents(node), f"the agent of {node.route} to go")

    def close(self) -> None:
        """End everything."""
        for shell in self._shells.values():
            shell.close()
        for node in self.nodes:
            node.stop()

    # ---- what a balancer does --------------------------------------------------------------------

    def ask(self, method: str, path: str, cookie: str, body: object = None) -> Reply:
        """A request of a user: to the node that the cookie names, or to another that answers."""
        def answered() -> list[Reply]:
            for node in sorted(self.up, key=lambda n: not cookie.endswith(f".{n.route}")):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if method == "GET":
                        return [get(node, path, cookie)]
                    return [post(node, path, cookie, body)]
            return []

        return wait_for(answered, "somebody to answer", SEEN_WITHIN_S)[0]


class User:
    """Is logged in, and reads and writes without a pause; ``wrong`` is what must not be."""

    def __init__(self, hosts: Hosts, node: Node, name: str) -> None:
        self._hosts, self.name = hosts, name
        self.cookie = post(node, "/api/login", None, {"user": name}).cookie or ""
        self._id = self.cookie.partition(".")[0]
        self.written = 0
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._click)
        self._thread.start()

    def _click(self) -> None:
        while not self._stop.wait(PAUSE_S):
            seen = self._hosts.ask("GET", "/api/session", self.cookie)
            self._look(seen)
            if seen.status != 200 or seen.data["data"].get("user") != self.name:
                self.wrong.append(f"{self.name} is logged out: {seen}")
                return
            body = {"key": "n", "value": self.written + 1}
            done = self._hosts.ask("POST", "/api/set", self.cookie, body)
            self._look(done)
            if done.status != 200:
                self.wrong.append(f"{self.name} cannot write: {done}")
                return
            self.written += 1

    def _look(self, reply: Reply) -> None:
        if reply.cookie is None:
            return
        if reply.cookie.partition(".")[0] != self._id:
            self.wrong.append(f"{self.name} got another session: {reply}")
        self.cookie = reply.cookie

    def stop(self) -> None:
        """Stop clicking."""
        self._stop.set()
        self._thread.join()


def node_agents(node: Node) -> list[int]:
    """The agents of a node that live, if only to leave."""
    return [
        pid for pid in node.pids()
        if b"clustersession.agent" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@contextlib.contextmanager
def users_of(hosts: Hosts, count: int) -> Iterator[Sequence[User]]:
    """So many users, on the nodes that are up, until the end."""
    users = [User(hosts, hosts.up[n % len(hosts.up)], f"user{n}") for n in range(count)]
    try:
        yield users
    finally:
        for user in users:
            user.stop()
