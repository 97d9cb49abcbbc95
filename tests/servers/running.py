"""A server of the registry while it runs, and what is left when it does not."""

import fcntl
import os
import shutil
import signal
from pathlib import Path

import lmdb

from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import ask_agent
from clustersession.replica.home import NodeHome
from clustersession.tools.demo.nodes import ClusterPorts, make_node
from clustersession.tools.demo.processes import StepFailed, descendants, kill_hard, wait_for
from clustersession.wire.local import Operation
from tests.servers.registry import TOUCH, Server

APPS = Path(__file__).with_name("apps")
HOOKS = Path(__file__).parents[2] / "examples" / "flask_app"
START_S = 40.0
LINGER_S = 60.0
# What a node keeps by design: the locks are files, and whoever holds them is what counts.
KEPT = {
    "agent.launch", "agent.lock", "agent.log", "journal", "known-secrets", "replica",
    "replica.claim", "replica.lock", "settings", "settings.lock",
}


def hook(apps: Path, directory: Path) -> None:
    """Put the examples' hooks into a directory, around applications of our own."""
    for source in (HOOKS, apps):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, directory, ignore=ignored, dirs_exist_ok=True)


class Running:
    """One run of one server, in a directory of its own."""

    def __init__(
        self, server: Server, directory: Path, *extra: str,
        distributable: bool = True, linger_s: float = LINGER_S,
    ) -> None:
        self.server = server
        self.apps = directory / "apps"
        hook(APPS, self.apps)
        # Options go in front: the application is the last word of most commands.
        words = server.words()
        first = 3 if words[1] == "-m" else 1
        command = [*words[:first], *extra, *words[first:]]
        self.node = make_node(
            "node1", directory, ClusterPorts(), command, app_directory=self.apps,
            environment={
                "CLUSTERSESSION_DISTRIBUTABLE": str(distributable).lower(),
                "CLUSTERSESSION_AGENT_LINGER_S": str(linger_s),
            },
        )
        self.port = self.node.port

    def start(self) -> None:
        """Start the server, or start it again."""
        self.node.start(START_S)

    @property
    def main(self) -> int:
        """The process that is told to stop and to reload."""
        return self.node.program.pid

    @property
    def home(self) -> NodeHome:
        """The node's directory."""
        (found,) = (p.parent for p in self.node.state_dir.glob("*/replica"))
        return NodeHome(found)

    def has_ended(self) -> bool:
        """Whether the main process is gone."""
        process = self.node.program.process
        return process is not None and process.poll() is not None

    def alive(self, pids: set[int]) -> set[int]:
        """Those of the processes that are alive and belong to the server."""
        return pids & {self.main, *descendants(self.main)}

    def stop(self, deadline_s: float = 30.0) -> None:
        """Stop it the way it wants to be stopped, and wait until all its processes are gone."""
        family = {self.main, *descendants(self.main)}
        os.kill(self.main, self.server.stop)
        wait_for(self.has_ended, f"{self.server.name} to stop", deadline_s)
        wait_for(
            lambda: not any(_exists(pid) for pid in family), "the end of its workers", deadline_s
        )

    def reload(self) -> None:
        """Tell it to reload, in its own way."""
        if isinstance(self.server.reload, signal.Signals):
            os.kill(self.main, self.server.reload)
        elif self.server.reload == TOUCH:
            self.touch()

    def touch(self) -> None:
        """Change the application's file, as an editor does."""
        (self.apps / "starlette_app.py").touch()

    def agents(self) -> list[int]:
        """The processes that are agents of this node, or about to be."""
        return [pid for pid in self.node.pids() if b"clustersession.agent" in _command(pid)]

    def agent_pid(self) -> int:
        """The process that answers at the agent's socket; 0 when there is none."""
        try:
            return int(ask_agent(self.home, Operation.STATUS)["agent_pid"])
        except (AgentGone, TimeoutError, ValueError):
            return 0

    def agent_log(self) -> str:
        """All that its agents have logged."""
        return "".join(
            path.read_text(errors="replace") for path in self.node.state_dir.rglob("agent.log*")
        )

    def check_agent(self, *, killed: int = 0) -> int:
        """Its one agent. StepFailed when more were started than had to be, at any moment."""
        try:
            wait_for(lambda: [self.agent_pid()] == self.agents(), "exactly one agent")
        except StepFailed as error:
            raise StepFailed(
                f"{error}: {self.agent_pid()} answers, of {self.agents()}"
            ) from None
        (agent,) = self.agents()
        attached = set(ask_agent(self.home, Operation.STATUS)["workers"])
        if self.server.workers > 1 and self.main in attached:
            raise StepFailed(f"the master {self.main} is attached to the agent, beside {attached}")
        log = self.agent_log()
        starts, in_vain = log.count(" starts in cluster "), log.count("another agent serves")
        # The successor of a killed one can find its lock still held.
        if starts != 1 + killed or in_vain > killed:
            raise StepFailed(f"{starts} agents were started, and {in_vain} in vain:\n{log}")
        blocked = _status(agent, "SigBlk")
        if int(blocked, 16):
            raise StepFailed(f"the agent has inherited blocked signals: {blocked}")
        foreign = [
            name for name in _descriptors(agent)
            if name.startswith("socket:") and name in _descriptors(self.main)
        ] if not self.has_ended() else []
        if foreign:
            raise StepFailed(f"the agent has inherited sockets of the server: {foreign}")
        return agent

    def size(self, pid: int) -> tuple[int, int]:
        """Threads and descriptors of a process."""
        return int(_status(pid, "Threads")), len(_descriptors(pid))

    def check_nothing_left(self) -> None:
        """StepFailed when anything is left of a node whose server and agent have ended."""
        wait_for(lambda: not self.node.pids(), "the end of every process", 30.0)
        home = self.home
        left = {path.name for path in home.directory.iterdir()} - KEPT
        if left:
            raise StepFailed(f"left behind in {home.directory}: {sorted(left)}")
        for path in home.directory.rglob("*"):
            if path.is_file() and path.suffix != ".mdb":
                _require_unlocked(path)
        environment = lmdb.open(os.fspath(home.replica), create=False, max_dbs=16, readonly=True)
        try:
            readers = environment.readers()
        finally:
            environment.close()
        if "no active readers" not in readers:
            raise StepFailed(f"readers are left: {readers}")

    def tail(self) -> str:
        """The end of what the server and its agent logged."""
        return self.node.program.log_tail() + "\n-- agent.log\n" + self.agent_log()[-3000:]

    def end(self) -> None:
        """kill -9 of whatever is there."""
        if self.node.program.process is not None:
            kill_hard([self.main, *descendants(self.main)])
            self.node.stop()


def _exists(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _status(pid: int, name: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    raise StepFailed(f"/proc/{pid}/status has no {name}")


def _descriptors(pid: int) -> list[str]:
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            names.append(os.readlink(link))
        except OSError:
            continue
    return names


def _require_unlocked(path: Path) -> None:
    with path.open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StepFailed(f"{path} is still locked") from None
