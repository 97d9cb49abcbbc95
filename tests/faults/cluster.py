"""Nodes in network namespaces, each a real app server with its agent, and what can happen to them.

They are peers, or have a store on a host of its own.

Odd nodes run uvicorn over ASGI, even ones gunicorn over WSGI, with two workers by default.
The state directory of each is a small file system in memory of its own, so that one can be full.
The last host of the network has no node: the client lives there.
"""

import contextlib
import json
import os
import random
import re
import secrets
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import ask_agent
from clustersession.replica.engines.lmdb.inspection import end_of, is_whole
from clustersession.replica.home import NodeHome, open_node_replica
from clustersession.settings.settings import Settings
from clustersession.wire.local import Operation
from clustersession.worker.known_secrets import directory_name, nodes_in
from tests.faults.store import STORE, FaultStore, store_on
from tests.support.disks import fill, small_disk
from tests.support.namespaces import Host, network
from tests.support.processes import StepFailed, kill_hard, kill_node, node_pids, wait_for

PORT = 8000
STATE_MIB = 64
STOPPED_WITHIN_S = 20.0
CLUSTER_NAME = "faults"
GROUP = "228.0.0.4"
CLOCK_DIRECTORY = Path(__file__).with_name("clock")
_LINE = re.compile(r"^(\S+ \S+) \w+ \S+ member (added|lost): (\w+) ", re.MULTILINE)
_STORE_LINE = re.compile(
    r"^(\S+ \S+) \w+ \S+ the store (?:(is reached): |.*; until it is back )", re.MULTILINE
)
_SERVERS = (
    ("gunicorn", "-w", "{workers}", "-k", "gthread", "--threads", "4", "-b", "0.0.0.0:{port}",
     "--graceful-timeout", "2", "--no-control-socket", "-c", "python:tests.faults.app",
     "tests.faults.app:over_wsgi"),
    ("uvicorn", "--workers", "{workers}", "--host", "0.0.0.0", "--port", "{port}",
     "--no-access-log", "--log-level", "warning", "--timeout-worker-healthcheck", "8",
     "tests.faults.app:over_asgi"),
)


def pause(seconds: float) -> None:
    """Let a fault last; nothing is expected to have happened afterwards."""
    threading.Event().wait(seconds)


@dataclass(frozen=True, slots=True)
class Event:
    """A line of an agent's log: at that wall second a member, or the store, was lost or added."""

    at_s: float
    what: str
    route: str


@dataclass(slots=True)
class FaultNode:
    """One node and everything that may be done to it.

    kind: how its route begins; its number follows.
    library: where it imports clustersession from, if not from this tree.
    """

    host: Host
    number: int
    directory: Path
    settings: dict[str, str]
    kind: str = "node"
    workers: int = 2
    library: Path | None = None
    server: "subprocess.Popen[bytes] | None" = None
    _filling: list[Path] = field(default_factory=list)

    @property
    def route(self) -> str:
        """Its name."""
        return f"{self.kind}{self.number}"

    @property
    def environment(self) -> dict[str, str]:
        """Its settings, all of them."""
        return {
            **self.settings, "CLUSTERSESSION_ROUTE": self.route,
            "CLUSTERSESSION_BIND": self.host.address,
            "CLUSTERSESSION_STATE_DIR": str(self.state_dir),
        }

    @property
    def address(self) -> tuple[str, int]:
        """Where its web server listens."""
        return self.host.address, PORT

    @property
    def state_dir(self) -> Path:
        """A file system of its own."""
        return self.directory / "state"

    @property
    def home(self) -> NodeHome:
        """Where its replica is: named after the first secret of all, whatever took its place."""
        begun = nodes_in(self.state_dir, CLUSTER_NAME, self.route)
        secret = self.settings["CLUSTERSESSION_SECRET"]
        name = directory_name(CLUSTER_NAME, self.route, secret)
        return begun[0] if begun else NodeHome(self.state_dir / name)

    @property
    def data_file(self) -> Path:
        """The file LMDB keeps everything in."""
        return self.home.replica / "data.mdb"

    @property
    def python_path(self) -> str:
        """Where its processes look for modules."""
        library = [] if self.library is None else [str(self.library)]
        return os.pathsep.join([str(CLOCK_DIRECTORY), *library, *(p for p in sys.path if p)])

    @property
    def server_log(self) -> Path:
        """What the server and its workers printed."""
        return self.directory / "server.log"

    # ---- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server, which starts the agent."""
        environment = {
            **os.environ, **self.environment, "PYTHONUNBUFFERED": "1",
            "TEST_CLOCK_OFFSET_FILE": str(self.directory / "clock"),
            "PYTHONPATH": self.python_path,
        }
        server = _SERVERS[self.number % 2]
        command = [part.format(port=PORT, workers=self.workers) for part in server]
        with self.server_log.open("ab") as log:
            # Elsewhere than in this tree, which "-m" would put before its library.
            self.server = self.host.start(
                [sys.executable, "-m", *command], env=environment, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd=self.directory,
            )

    def stop_gracefully(self) -> None:
        """As systemd stops a unit: SIGTERM to every process of it, and SIGKILL if that is vain."""
        _signal(self.pids(), signal.SIGTERM)
        with contextlib.suppress(StepFailed):
            wait_for(self._has_stopped, f"{self.route} to stop", STOPPED_WITHIN_S)
        self.kill()

    def _has_stopped(self) -> bool:
        if self.pids():
            return False
        # Once more: a process that just begins cannot be told whose it is.
        pause(0.1)
        return not self.pids()

    def kill(self) -> None:
        """kill -9 every process of the node."""
        kill_hard(self.pids())
        kill_node(self.state_dir)
        if self.server is not None:
            self.server.wait(5.0)

    def pids(self) -> list[int]:
        """All its live processes."""
        return node_pids(self.state_dir)

    def agent_pid(self) -> int | None:
        """The agent's process, by the lock it holds."""
        try:
            pid = int(self.home.agent_lock.read_text())
        except (OSError, ValueError):
            return None
        return pid if pid in self.pids() else None

    def kill_agent(self) -> bool:
        """kill -9 the agent, if there is one at the moment."""
        pid = self.agent_pid()
        if pid is not None:
            kill_hard([pid])
        return pid is not None

    def kill_worker(self, chance: random.Random) -> None:
        """kill -9 one of the workers attached to the agent."""
        # uvicorn may need its health check's timeout to notice that the last one is dead.
        workers = wait_for(lambda: self.status()["workers"], "a worker", 30.0)
        kill_hard([chance.choice(workers)])

    def stop(self, pids: Sequence[int]) -> None:
        """SIGSTOP."""
        _signal(pids, signal.SIGSTOP)

    def resume(self, pids: Sequence[int]) -> None:
        """SIGCONT."""
        _signal(pids, signal.SIGCONT)

    # ---- what surrounds it -----------------------------------------------------------------------

    def fill_disk(self) -> None:
        """Leave no free block in its state directory."""
        self._filling.append(self.state_dir / f"filling{len(self._filling)}")
        fill(self._filling[-1])

    def free_disk(self) -> None:
        """The end of ``fill_disk``."""
        while self._filling:
            self._filling.pop().unlink()

    def grow_disk(self) -> None:
        """Make its file system as large as the others'."""
        size = f"remount,size={STATE_MIB}m"
        subprocess.run(["mount", "-o", size, str(self.state_dir)], check=True)

    def set_clock(self, ahead_s: float) -> None:
        """Step the wall clock of all its processes; may be negative."""
        with (self.directory / "clock").open("r+b") as file:
            file.write(struct.pack("<q", round(ahead_s * 1e9)))

    def damage(self, chance: random.Random, pages: int) -> None:
        """Overwrite some pages of the replica's file with random bytes, in place."""
        size = end_of(self.data_file) or 0
        with self.data_file.open("r+b") as file:
            for page in chance.sample(range(size // 4096), min(pages, size // 4096)):
                file.seek(page * 4096)
                file.write(chance.randbytes(4096))

    def truncate(self, share: float) -> None:
        """Cut off the end of the replica's file."""
        size = end_of(self.data_file) or 0
        os.truncate(self.data_file, int(size * share) // 4096 * 4096)

    # ---- what it says ----------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What its agent says; nothing while there is none."""
        try:
            seen: dict[str, Any] = ask_agent(self.home, Operation.STATUS)
            return seen
        except (AgentGone, TimeoutError):
            return {"phase": "", "members": [], "workers": []}

    def settled(self, members: int) -> bool:
        """Ready, with all workers, and with so many others that are; with what the store has."""
        seen = self.status()
        store = seen.get("store", {"state": "reached", "compared": True})
        if store["state"] != "reached" or not store["compared"]:
            return False
        alive = sum(
            m["status"] == "alive" and m["phase"] == "ready" and m["serving"]
            for m in seen["members"]
        )
        workers = len(seen["workers"])
        return seen["phase"] == "ready" and alive == members and workers == self.workers

    def events(self) -> list[Event]:
        """What its agents have logged of members and of the store, in order."""
        text = self.home.agent_log.read_text(errors="replace")
        lines = _LINE.findall(text)
        lines += [
            (at, "added" if reached else "lost", STORE) for at, reached in _STORE_LINE.findall(text)
        ]
        found = [Event(datetime.fromisoformat(at).timestamp(), *what) for at, *what in lines]
        return sorted(found, key=lambda event: event.at_s)

    def save_logs(self) -> None:
        """Copy what the agent logged to where it outlives the node's file system."""
        for path in self.home.directory.glob("agent.log*"):
            shutil.copyfile(path, self.directory / f"saved-{path.name}")

    def digests(self) -> bytes:
        """A summary of everything its replica holds, read beside the running node."""
        if not self.data_file.exists() or not is_whole(self.data_file):
            # Or it was being written to; either way there is no telling now.
            return self.route.encode()
        replica = open_node_replica(self.home, Settings())
        try:
            return replica.digests()
        finally:
            replica.close()


class Client:
    """The process with the browsers, on a host of its own."""

    def __init__(self, host: Host) -> None:
        self._process = host.start(
            [sys.executable, "-m", "tests.faults.client"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )

    def ask(self, do: str, **command: Any) -> Any:
        """One command and its answer. Raises OSError when the client met with one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"do": do, **command}), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        if isinstance(answer, dict) and "error" in answer:
            raise OSError(answer["error"])
        return answer


@dataclass(slots=True)
class Cluster:
    """All nodes and the client, which has a host of its own; the store too, where there is one."""

    nodes: list[FaultNode]
    client: Client
    client_host: Host
    store: FaultStore | None = None

    def others(self, node: FaultNode) -> list[FaultNode]:
        """Everybody else."""
        return [n for n in self.nodes if n is not node]

    def addresses(self, node: FaultNode) -> str:
        """What other nodes, or the store, send to and from, as an nftables set."""
        if self.store is not None:
            return "{ " + self.store.host.address + " }"
        return "{ " + ", ".join(o.host.address for o in self.others(node)) + f", {GROUP} " + "}"

    def wait_until_settled(self, deadline_s: float = 40.0) -> None:
        """Every node is ready and sees every other."""
        for node in self.nodes:
            try:
                wait_for(
                    lambda n=node: n.settled(len(self.nodes) - 1),
                    f"{node.route} to see the others", deadline_s,
                )
            except StepFailed as error:
                seen = node.status()
                members = [(m["route"], m["status"], m["phase"]) for m in seen["members"]]
                raise StepFailed(
                    f"{error}; it is {seen['phase']!r} with workers {seen['workers']}, sees "
                    f"{members} and has the processes {node.pids()}"
                ) from None

    def wait_until_equal(self, deadline_s: float = 40.0) -> None:
        """All replicas hold the same; the store holds what each of them does."""
        if self.store is not None:
            wait_for(
                lambda: all(node.status().get("store", {}).get("behind") == 0
                            for node in self.nodes),
                "the store to hold everything", deadline_s,
            )
            return
        wait_for(
            lambda: len({node.digests() for node in self.nodes}) == 1,
            "all replicas to be equal", deadline_s,
        )


@contextlib.contextmanager
def cluster(
    count: int, directory: Path, state_mib: dict[int, int] | None = None, kind: str = "node",
    workers: int = 2, store: str = "", **settings: str,
) -> Iterator[Cluster]:
    """``count`` nodes that have found each other; ``state_mib`` by number where not 64.

    store: the kind of server that they have in the place of peers.
    """
    environment = {
        "CLUSTERSESSION_CLUSTER_NAME": CLUSTER_NAME,
        "CLUSTERSESSION_SECRET": secrets.token_urlsafe(32),
        **{f"CLUSTERSESSION_{name.upper()}": value for name, value in settings.items()},
    }
    with network(count + 1 + bool(store)) as hosts, contextlib.ExitStack() as cleanup:
        nodes = []
        ours = None
        if store:
            ours = cleanup.enter_context(store_on(hosts[-2], store, directory / STORE))
            environment["CLUSTERSESSION_STORE"] = ours.url
        for number, host in enumerate(hosts[:count], 1):
            node = FaultNode(host, number, directory / f"node{number}", environment, kind, workers)
            node.state_dir.mkdir(parents=True)
            (node.directory / "clock").write_bytes(bytes(8))
            mib = (state_mib or {}).get(number, STATE_MIB)
            cleanup.enter_context(small_disk(node.state_dir, f"{mib}m"))
            cleanup.callback(node.save_logs)
            cleanup.callback(node.kill)
            nodes.append(node)
        for node in nodes:
            node.start()
        made = Cluster(nodes, Client(hosts[-1]), hosts[-1], ours)
        made.wait_until_settled()
        yield made


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
