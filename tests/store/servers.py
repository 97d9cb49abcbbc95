"""Valkey and Redis servers for the tests, each with a directory and a socket of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from clustersession.tools.demo.processes import free_port, wait_for
from clustersession.tools.demo.store import valkey_of_wheel
from tests.support.processes import cannot_run

SERVERS = ("redis", "valkey")
START_TIMEOUT_S = 10.0


def command(kind: str) -> str | None:
    """The program of a server; None when it is not installed."""
    return valkey_of_wheel() if kind == "valkey" else shutil.which("redis-server")


def required(kind: str) -> str:
    """The program of a server; skips the test, or in CI fails it, when it is not installed."""
    program = command(kind)
    if program is None:
        cannot_run(f"not installed here: {kind}-server")
    return program


class Server:
    """A server that can be killed, stopped and started again where it was.

    Text order is that of a locale with rules of its own. inside: what runs a command elsewhere,
    such as in a network namespace.
    """

    def __init__(
        self, program: str, directory: Path, *options: str, port: int = 0, sentinel: str = "",
        inside: Sequence[str] = (),
    ) -> None:
        self.program = program
        self.directory = directory
        self.socket = directory / "s"
        self.port = port
        self._command = [*inside, program]
        if sentinel:
            # It writes into its configuration what it finds.
            (directory / "sentinel.conf").write_text(sentinel)
            self._command += [str(directory / "sentinel.conf"), "--sentinel"]
        else:
            self._command += ["--save", "", "--appendonly", "no"]
        self._command += [
            "--port", str(port), "--unixsocket", str(self.socket), "--dir", str(directory),
            *options,
        ]
        self.admin = redis.Redis(unix_socket_path=str(self.socket))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, for the setting ``store``."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        wait_for(self._answers, "the store to answer", START_TIMEOUT_S)

    def _answers(self) -> bool:
        # It ends at once where somebody else has its port, which may be for a moment.
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command, env={**os.environ, "LC_ALL": "C.UTF-8"}, stdout=subprocess.DEVNULL
            )
        return listens(self.socket) and answers(self.admin)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.admin.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)

    def pause(self) -> None:
        """Have it hold its breath."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it breathe again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def running(
    program: str, directory: Path, *options: str, port: int = 0, sentinel: str = ""
) -> Iterator[Server]:
    """Start a server, and end it."""
    directory.mkdir(exist_ok=True, parents=True)
    server = Server(program, directory, *options, port=port, sentinel=sentinel)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def store_of(mode: str) -> Iterator[Server | None]:
    """A server for a command's runs with ``--mode store``; None in its other modes."""
    if mode != "store":
        yield None
        return
    with (
        tempfile.TemporaryDirectory(prefix="store-") as directory,
        running(required("redis"), Path(directory)) as server,
    ):
        yield server


def take_sessions(server: Server) -> int:
    """Empty the store; how many sessions were in it."""
    count = sum(1 for _ in server.admin.scan_iter("clustersession:*:s:*", count=1000))
    server.admin.flushall()
    return count


@contextmanager
def serving(program: str, directory: Path, *options: str) -> Iterator["redis.Redis"]:
    """Start a server; give a client of it."""
    with running(program, directory, *options) as server:
        yield server.admin


@contextmanager
def cluster(
    program: str, directory: Path, count: int, replicas: int = 0
) -> Iterator[list[Server]]:
    """Start a Cluster on loopback, whose slots are spread evenly over so many.

    replicas: so many of the servers have one, the first of all the first of these behind them.
    """
    with ExitStack() as stack:
        servers = []
        for number in range(count + replicas):
            # The bus has a port of its own, which must be free too.
            port = free_port()
            servers.append(stack.enter_context(running(
                program, directory / str(number), "--cluster-enabled", "yes",
                "--cluster-port", str(free_port()), "--bind", "127.0.0.1",
                "--cluster-node-timeout", "2000", port=port,
            )))  # fmt: skip
        size = -(-16_384 // count)
        for number, server in enumerate(servers[:count]):
            last = min((number + 1) * size, 16_384) - 1
            server.admin.execute_command("CLUSTER", "ADDSLOTSRANGE", number * size, last)
        for server in servers:
            config: Any = servers[0].admin.config_get("cluster-port")
            bus = int(config["cluster-port"])
            server.admin.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, bus)
        wait_for(
            lambda: all(cluster_is_whole(server, len(servers)) for server in servers),
            "the Cluster to be whole", 20.0,
        )
        for primary, replica in zip(servers, servers[count:], strict=False):
            name: Any = primary.admin.execute_command("CLUSTER", "MYID")
            replica.admin.execute_command("CLUSTER", "REPLICATE", name.decode())
            wait_for(lambda r=replica: follows(r), "a replica to follow", 20.0)
        yield servers


def watching_for(primary: int) -> str:
    """What a Sentinel is told that watches a primary on this port."""
    return (
        f"sentinel monitor mymaster 127.0.0.1 {primary} 1\n"
        "sentinel down-after-milliseconds mymaster 500\n"
        "sentinel failover-timeout mymaster 3000\n"
    )


def follows(server: Server) -> bool:
    """Whether a replica has what its primary has."""
    info: Any = server.admin.info("replication")
    return bool(info["role"] == "slave" and info["master_link_status"] == "up")


def has_all(replica: Server, *, of: Server) -> bool:
    """Whether a replica has got all that its primary has written."""
    theirs: Any = of.admin.info("replication")
    ours: Any = replica.admin.info("replication")
    return bool(ours["slave_repl_offset"] >= theirs["master_repl_offset"])


def cluster_is_whole(server: Server, count: int) -> bool:
    """Whether a server sees all slots served by so many."""
    info: Any = server.admin.execute_command("CLUSTER", "INFO")
    said = info if isinstance(info, dict) else dict(
        line.split(":") for line in info.decode().splitlines()
    )
    return said["cluster_state"] == "ok" and said["cluster_known_nodes"] == str(count)


def listens(path: Path) -> bool:
    """Whether somebody listens there; older clients leave a socket of theirs open when nobody does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        return trial.connect_ex(str(path)) == 0


def answers(client: "redis.Redis") -> bool:
    """Whether a server answers, a refusal included."""
    try:
        return bool(client.ping())
    except redis.AuthenticationError:
        return True
    except redis.RedisError:
        return False
