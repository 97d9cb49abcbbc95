"""The cluster that is drilled on: three nodes on hosts of their own, users, and an operator.

The operator types what the document says into a shell on that host. Some things stand for what is
not here: ``systemctl`` acts on the node's processes as systemd acts on a unit, ``journalctl`` shows
what the server printed, ``pip`` puts a copy of the package with that version in place, and names
and paths of the document are replaced by ours, see ``Stand.translated``. And where the operator
sleeps until HAProxy has noticed a drain, we look when it has: on a busy machine it may be later.
"""

import contextlib
import os
import re
import secrets
import shlex
import signal
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clustersession
from tests.drill.document import EACH, Command, Step
from tests.drill.shell import BIN, Shell
from tests.faults.cluster import Cluster, FaultNode, cluster, pause
from tests.faults.history import Operation
from tests.faults.judge import Verdict, ids_of, judge
from tests.support.apps import READY_PATH
from tests.support.balancers import haproxy_command
from tests.support.other_version import package_of_version
from tests.support.processes import StepFailed, wait_for

NODES = 3
LOAD = {"browsers": 4, "pause_s": 0.05, "padding_bytes": 20}
BALANCER_PORT = 8080
BALANCER_LOG = "haproxy.log"
STATE_MIB = 128
UNIT_FILE = "/etc/shop.env"
SEEN_WITHIN_S = 30.0
LOOKS = ("clustersession status", "clustersession members", "clustersession top --once",
         "clustersession metrics", "clustersession recover", "clustersession sessions", "grep ",
         "journalctl ")
NEVER = ("lost", "resurrected", "invented", "swapped", "vanished", "disagreements", "errors")
VERSIONS = {"OLD": clustersession.__version__, "NEW": "99.0.0"}
SECRETS = {"OLD": secrets.token_urlsafe(32), "NEW": secrets.token_urlsafe(32)}


@dataclass(slots=True)
class Stand:
    """The cluster, and what operators and users do with it."""

    cluster: Cluster
    directory: Path
    shells: dict[str, Shell] = field(default_factory=dict)

    # ---- the operator ----------------------------------------------------------------------------

    def perform(self, step: Step) -> None:
        """Type everything that the step says, and see what it shows."""
        each = [self.cluster.nodes[number - 1].route for number in step.nodes(NODES)]
        for route in each or [""]:
            for command in step.commands:
                self.type(self.node(route if command.host == EACH else command.host), command)

    def type(self, node: FaultNode, command: Command) -> None:
        """One command; whoever looks at something looks until it is there.

        Only a command that the document shows to fail may fail.
        """
        text = self.translated(command.text, node)
        shown = tuple(self.translated(line, node) for line in command.shown)
        wanted = Command(node.route, text, shown)
        output, status = "", 0

        def seen() -> bool:
            nonlocal output, status
            output, status = self.run(node, text)
            return not wanted.missing(output)

        if text.startswith(LOOKS):
            with contextlib.suppress(StepFailed):
                wait_for(seen, text, SEEN_WITHIN_S)
        else:
            seen()
        missing = wanted.missing(output)
        assert not missing, f"{node.route}$ {text}\nlacks {missing!r}:\n{output}"
        fails = any("error" in line.lower() for line in shown)
        assert (status != 0) is fails, f"{node.route}$ {text}\nexits with {status}:\n{output}"

    def translated(self, text: str, node: FaultNode) -> str:
        """A text of the document in the names that things have here."""
        text = text.replace(EACH, node.route).replace(UNIT_FILE, str(self.unit_file(node)))
        for other in self.cluster.nodes:
            text = text.replace(f"10.0.0.{other.number}", other.host.address)
        for name, value in SECRETS.items():
            text = text.replace(f"{name}_SECRET", value)
        for name, value in VERSIONS.items():
            text = text.replace(f"{name}_VERSION", value)
        return text

    def unit_file(self, node: FaultNode) -> Path:
        """Where the service's settings are."""
        return node.directory / "shop.env"

    def run(self, node: FaultNode, text: str) -> tuple[str, int]:
        """A command as ``Shell.run`` does it, or what stands for it."""
        match shlex.split(text):
            case ["systemctl", verb, *options, "shop"]:
                self._systemctl(node, verb, options)
                return "", 0
            case [program, "install", wanted] if program.endswith("/pip"):
                self._install(node, wanted.partition("==")[2])
                return "", 0
            case ["sleep", _]:
                wait_for(lambda: self._is_passed_over(node), f"HAProxy to leave {node.route}")
                return "", 0
        return self._shell(node).run(text)

    def _shell(self, node: FaultNode) -> Shell:
        if node.route not in self.shells:
            shell = self.shells[node.route] = Shell(
                node.host.start, node.directory, PYTHONPATH=node.python_path,
                PATH=f"{BIN}:{os.environ['PATH']}:/usr/sbin:/sbin",
            )
            shell.run(f"set -a; . {self.unit_file(node)}; set +a")
            shell.run(f"journalctl() {{ cat {node.server_log}; }}")
        return self.shells[node.route]

    def _systemctl(self, node: FaultNode, verb: str, options: Sequence[str]) -> None:
        match verb, *options:
            case ["kill", "--signal=SIGKILL"]:
                node.kill()
            case ["kill", option] if option.startswith("--signal="):
                number = signal.Signals[option.removeprefix("--signal=")]
                for pid in node.pids():
                    os.kill(pid, number)
            case ["stop"]:
                node.stop_gracefully()
            case ["start"]:
                self._start(node)
            case ["restart"]:
                node.stop_gracefully()
                self._start(node)
            case _:
                raise AssertionError(f"systemctl {verb} {options} is not played here")

    def _start(self, node: FaultNode) -> None:
        lines = self.unit_file(node).read_text().splitlines()
        node.settings = dict(line.split("=", 1) for line in lines)
        node.start()

    def _is_passed_over(self, node: FaultNode) -> bool:
        log = (self.directory / BALANCER_LOG).read_text()
        said = re.findall(rf"Server app/{node.route} is (UP|DOWN)", log)
        return said[-1:] == ["DOWN"]

    def _install(self, node: FaultNode, version: str) -> None:
        node.library = None if version == VERSIONS["OLD"] else self.directory / version
        if node.library is not None and not node.library.exists():
            package_of_version(version, node.library)
        self._shell(node).run(f"export PYTHONPATH={shlex.quote(node.python_path)}")

    def node(self, route: str) -> FaultNode:
        """By its route."""
        (found,) = [node for node in self.cluster.nodes if node.route == route]
        return found

    # ---- the users -------------------------------------------------------------------------------

    def start_load(self, *, balanced: bool = False, padding_bytes: int = 20) -> None:
        """Users come, by way of HAProxy or of a failover that asks the next node.

        What they store is as large as ``padding_bytes`` says.
        """
        nodes: dict[str, Any] = {n.route: n.address for n in self.cluster.nodes}
        if balanced:
            nodes = {"balancer": ("127.0.0.1", BALANCER_PORT)}
        self.cluster.client.ask("start", nodes=nodes, **{**LOAD, "padding_bytes": padding_bytes})
        pause(1.0)

    def balancer_listens(self) -> bool:
        """Tell whether HAProxy has started."""
        try:
            self.cluster.client.ask(
                "call", address=("127.0.0.1", BALANCER_PORT), path="/read", cookie="", body={}
            )
        except OSError:
            return False
        return True

    def stop_load(self) -> list[Operation]:
        """The users go; what they did, and what they were told."""
        return [Operation.from_json(plain) for plain in self.cluster.client.ask("stop")]

    def request(self, node: str, path: str, cookie: str, value: str = "") -> tuple[int, Any, str]:
        """One request of one user to one node: status, content and the cookie given."""
        status, content, given = self.cluster.client.ask(
            "call", address=self.node(node).address, path=path, cookie=cookie,
            body={"value": value},
        )
        return status, content, given or cookie

    def judge(
        self, history: Sequence[Operation], misses: Container[str] = frozenset()
    ) -> Verdict:
        """What the nodes hold against what users were told, once all have settled.

        misses: owners whose session may have been out of reach for some time.
        """
        self.cluster.wait_until_settled()
        self.cluster.wait_until_equal()
        identifiers = ids_of(history)
        reads = {
            node.route: dict(zip(
                identifiers,
                self.cluster.client.ask("read", address=node.address, identifiers=identifiers),
                strict=True,
            ))
            for node in self.cluster.nodes
        }
        verdict = judge(history, reads)
        verdict.vanished = [v for v in verdict.vanished if v.partition(":")[0] not in misses]
        for name in NEVER:
            found = getattr(verdict, name)
            owners = {one.partition(":")[0].partition(" ")[0] for one in found[:5]}
            assert not found, "\n".join(
                [name, *found[:5], *(str(o) for o in history if o.owner in owners)]
            )
        assert verdict.acknowledged > 50
        return verdict


@contextlib.contextmanager
def running_stand(directory: Path) -> Iterator[Stand]:
    """Three nodes that serve, and HAProxy where the users are."""
    with cluster(
        NODES, directory, dict.fromkeys(range(1, NODES + 1), STATE_MIB), kind="tomcat",
        workers=1, ready_path=READY_PATH, secret=SECRETS["OLD"], agent_linger_s="1",
    ) as running:
        stand = Stand(running, directory)
        for node in running.nodes:
            lines = [f"{name}={value}\n" for name, value in node.environment.items()]
            stand.unit_file(node).write_text("".join(lines))
        addresses = [node.address for node in running.nodes]
        with (directory / BALANCER_LOG).open("ab") as log:
            running.client_host.start(
                haproxy_command(addresses, BALANCER_PORT, directory), stdout=log, stderr=log
            )
        wait_for(stand.balancer_listens, "HAProxy to listen")
        yield stand
