"""Starts the demo's processes, finds all that belong to a node, and ends them by kill -9.

A node is its workers and its agent, and the agent is detached from the worker that started it.
What they share is the node's state directory: in their environment, on their command line, or
mapped into their memory.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from clustersession.tools.demo.port_block import ProcessPorts

POLL_INTERVAL_S = 0.02
_LOG_TAIL_BYTES_MAX = 4000
_NODES_ON_ONE_PORT = 8
_ports = ProcessPorts()

T = TypeVar("T")


class StepFailed(Exception):
    """Something that had to hold did not. The message says what was seen."""


def wait_for(condition: Callable[[], T], what: str, deadline_s: float = 15.0) -> T:
    """Return the first true value of ``condition``; StepFailed without one by the deadline."""
    give_up_at_s = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > give_up_at_s:
            raise StepFailed(f"waited {deadline_s:.0f} s in vain for {what}")
        time.sleep(POLL_INTERVAL_S)


def free_port(
    kind: socket.SocketKind = socket.SOCK_STREAM, count: int = _NODES_ON_ONE_PORT
) -> int:
    """Find a port, the first of ``count``, that is free and given to no other process like this.

    count: as many nodes as share the setting ``port`` take this one and those that follow.
    """
    global _ports
    # One that was forked has claimed nothing yet.
    if _ports.pid != os.getpid():
        _ports = ProcessPorts()
    return _ports.take(kind, count)


def accepts_connections(port: int) -> bool:
    """Tell whether something listens on a loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass(slots=True)
class Program:
    """Is one started program whose output goes to a file.

    It leads a session of its own, so that a Ctrl-C at the terminal reaches only the demo.

    ``process`` is the one that was started last, alive or not; None before the first.
    """

    command: Sequence[str]
    log_path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. Its output is appended to the log."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                cwd=self.directory, env={**os.environ, **self.environment}, start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the process id of the program itself, not of its children."""
        if self.process is None:
            raise StepFailed(f"{self.command[0]} has not been started")
        return self.process.pid

    def wait_until_listening(self, port: int, deadline_s: float = 20.0) -> None:
        """Wait for the program to accept connections; StepFailed with its log when it ended."""
        def listening() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise StepFailed(f"{self.command[0]} ended at its start:\n{self.log_tail()}")
            return accepts_connections(port)

        try:
            wait_for(listening, f"{self.command[0]} on port {port}", deadline_s)
        except StepFailed as error:
            raise StepFailed(f"{error}\n{self.log_tail()}") from None

    def log_tail(self) -> str:
        """Read the end of its output."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_text(errors="replace")[-_LOG_TAIL_BYTES_MAX:]

    def stop(self, deadline_s: float = 5.0) -> None:
        """End the program with its children: politely, then with kill -9."""
        if self.process is None:
            return
        pids = [self.process.pid, *descendants(self.process.pid)]
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(deadline_s)
        kill_hard(pids)
        self.process.wait()


def descendants(pid: int) -> list[int]:
    """List the children of a process, their children, and so on."""
    children: dict[int, list[int]] = {}
    for child in _all_pids():
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The command name, in brackets, may itself hold brackets and spaces.
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(child)
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def node_pids(state_dir: Path) -> list[int]:
    """List every live process of the node with this state directory, agent included."""
    marker = os.fsencode(state_dir)
    return [pid for pid in _all_pids() if pid != os.getpid() and _belongs(pid, marker)]


def kill_node(state_dir: Path, deadline_s: float = 5.0) -> list[int]:
    """End every process of a node with kill -9, wait until none is left; return their ids.

    Repeated until nothing is found twice: a dying worker's sibling may just have started an agent,
    and a process that begins has no command line for a moment.
    """
    killed: list[int] = []
    empty_looks = 0

    def none_left() -> bool:
        nonlocal empty_looks
        pids = node_pids(state_dir)
        kill_hard(pids)
        killed.extend(pid for pid in pids if pid not in killed)
        empty_looks = 0 if pids else empty_looks + 1
        return empty_looks == 2

    wait_for(none_left, f"the end of every process of {state_dir}", deadline_s)
    return killed


def kill_hard(pids: Sequence[int]) -> None:
    """End processes with kill -9; one that is gone already is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _belongs(pid: int, marker: bytes) -> bool:
    process = Path(f"/proc/{pid}")
    try:
        # Everybody may read the first of them; who may not read the second may not end it, either.
        command = (process / "cmdline").read_bytes()
        environment = (process / "environ").read_bytes()
        if _looks_on(command.split(b"\0")):
            return False
        if _names(command, marker) or _names(_chosen(environment), marker):
            return True
        return _names((process / "maps").read_bytes(), marker)
    except OSError:
        return False


def _names(content: bytes, marker: bytes) -> bool:
    # The next byte must end the path, or /tmp/x/node1 would also be found as /tmp/x/node10.
    return any(content.find(marker + end) >= 0 for end in (b"\0", b"\n", b"/", b" "))


def _chosen(environment: bytes) -> bytes:
    """Leave out where a shell has been, which it hands on to all that is started from it."""
    return b"".join(
        entry + b"\0" for entry in environment.split(b"\0")
        if not entry.startswith((b"PWD=", b"OLDPWD="))
    )


def _looks_on(arguments: Sequence[bytes]) -> bool:
    """Tell whether this is somebody's ``clustersession top`` or the like, who is no part of it."""
    return b"--state-dir" in arguments and b"agent" not in arguments
