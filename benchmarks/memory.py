"""What a node takes in memory: the agent, a worker with and without us, and redis-server beside it.

    python -m benchmarks.memory [sessions]

Sessions of five attributes of 40 characters, made by requests. From the kernel, in MiB:
``resident`` counts every page a process has mapped, ``share`` (PSS) a page of n processes as an
n-th, ``own`` is what it alone has written to: not the replica and not the code of libraries.
"""

import contextlib
import http.client
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.nodes import wait_until
from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import status
from clustersession.replica.home import NodeHome
from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node, uvicorn_command
from clustersession.tools.demo.processes import accepts_connections, free_port, kill_hard

ROOT = Path(__file__).parents[1]
WARM_UP = 200
COLUMNS = "{:<52}{:>9}{:>9}{:>9}"


class Memory(NamedTuple):
    """Of one process, in KiB."""

    resident: int
    share: int
    own: int

    def row(self, what: str) -> str:
        """A line of the table."""
        return COLUMNS.format(what, *(f"{kib / 1024:.1f}" for kib in self))


def memory_of(pid: int) -> Memory:
    """What the kernel says now."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {name: int(kib) for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    return Memory(found["Rss"], found["Pss"], found["Private_Dirty"])


def main(sessions: int = 10_000) -> None:
    """Measure one after the other, and print."""
    print(COLUMNS.format("MiB", "resident", "share", "own"))
    with tempfile.TemporaryDirectory(prefix="clustersession-memory-") as directory:
        with one_node(Path(directory), "memory_plain:plain") as node:
            ask(node.port, WARM_UP)
            plain = memory_of(node.program.pid)
            print(plain.row("worker, uvicorn, without clustersession"))
        with one_node(Path(directory), "memory_app:clustered") as node:
            ask(node.port, WARM_UP)
            agent = agent_of(node)
            worker = memory_of(node.program.pid)
            print(worker.row("worker, with clustersession"))
            added = Memory(*(w - p for w, p in zip(worker, plain, strict=True)))
            print(added.row("  which is more by"))
            print(memory_of(agent).row(f"agent of a new node, {WARM_UP} sessions"))
            kill_hard([agent])
            wait_until(lambda: agent_of(node) != agent, "another agent")
            agent = agent_of(node)
            print(memory_of(agent).row("agent started again"))
            ask(node.port, sessions - WARM_UP)
            print(memory_of(node.program.pid).row(f"worker, after {sessions:,} sessions"))
            print(memory_of(agent).row(f"agent, {sessions:,} sessions"))
        redis(sessions, Path(directory))


@contextlib.contextmanager
def one_node(directory: Path, app: str) -> Iterator[Node]:
    """The small application under uvicorn with one worker."""
    node = make_node(
        app.partition(":")[2], directory, ClusterPorts(), uvicorn_command(f"benchmarks.{app}"),
        app_directory=ROOT,
    )
    try:
        node.start()
        yield node
    finally:
        node.stop()


def agent_of(node: Node) -> int:
    """The process id of the agent, once it is ready."""
    (home,) = (NodeHome(path.parent) for path in node.state_dir.glob("*/replica"))

    def ready() -> bool:
        with contextlib.suppress(AgentGone, TimeoutError):
            return status(home)["phase"] == "ready"
        return False

    wait_until(ready, "the agent to be ready")
    return int(status(home).get("agent_pid", 0))


def ask(port: int, requests: int) -> None:
    """So many requests without a cookie, each a session where there are sessions."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for _ in range(requests):
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise SystemExit(f"it answered {response.status}")
    connection.close()


def redis(sessions: int, directory: Path) -> None:
    """redis-server without persistence, empty and with the same sessions as hashes."""
    program = shutil.which("redis-server")
    if program is None:
        print("redis-server is not installed")
        return
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
         "--dir", str(directory)],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: accepts_connections(port), "redis-server")
        print(memory_of(process.pid).row("redis-server, empty"))
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for number in range(sessions):
                fields = [f"{name}{n}" for n in range(5) for name in ("attribute", "x" * 39)]
                words = ["HSET", f"session:{number:022d}", *fields]
                command = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
                connection.sendall(f"*{len(words)}\r\n{command}".encode())
                if not connection.recv(100).startswith(b":"):
                    raise SystemExit("redis-server refused a session")
        print(memory_of(process.pid).row(f"redis-server, {sessions:,} sessions"))
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
