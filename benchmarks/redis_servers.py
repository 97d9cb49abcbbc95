"""redis-server as the alternative: without persistence, with a replica where one is asked for."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.nodes import process_cpu_s, wait_until
from tests.support.namespaces import Host


class Redis:
    """One server and a connection to it, over its unix socket: also from another host."""

    def __init__(self, process: "subprocess.Popen[bytes]", path: Path) -> None:
        self.process = process
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._answers = self._socket.makefile("rb")

    def ask(self, *words: str | bytes) -> bytes | int:
        """One command, and its answer. Raises SystemExit for a refusal."""
        self.send(words)
        return self.answer()

    def send(self, *commands: Sequence[str | bytes]) -> None:
        """Commands whose answers are taken later."""
        parts = []
        for words in commands:
            parts.append(b"*%d\r\n" % len(words))
            for word in words:
                data = word.encode() if isinstance(word, str) else word
                parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
        self._socket.sendall(b"".join(parts))

    def answer(self) -> bytes | int:
        """The next answer."""
        line = self._answers.readline().rstrip()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            data = self._answers.read(int(rest) + 2)
            return data[:-2]
        if kind == b":":
            return int(rest)
        if kind != b"+":
            raise SystemExit(f"redis-server answered {line!r}")
        return rest

    def info(self, name: str) -> int:
        """A number of INFO."""
        text = self.ask("INFO")
        assert isinstance(text, bytes)
        return int(text.partition(f"\n{name}:".encode())[2].split()[0])

    def cpu_s(self) -> float:
        """Processor seconds it has used."""
        return process_cpu_s(self.process.pid)

    def close(self) -> None:
        """End the connection and the server."""
        self._answers.close()
        self._socket.close()
        self.process.terminate()
        self.process.wait(10)


@contextmanager
def redis_servers(count: int, *, hosts: Sequence[Host] = ()) -> Iterator[list[Redis]]:
    """A master and its replicas, connected; on loopback or each on a host of its own."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="clustersession-redis-") as name, ExitStack() as stack:
        servers: list[Redis] = []
        ports = [6400 + number for number in range(count)]
        for number, port in enumerate(ports):
            address = hosts[number].address if hosts else "127.0.0.1"
            path = Path(name) / f"{number}.sock"
            command = [
                program, "--port", str(port), "--bind", address, "--save", "", "--appendonly", "no",
                "--dir", name, "--unixsocket", str(path), "--protected-mode", "no",
                "--repl-diskless-sync-delay", "0",
            ]
            if number:
                command += ["--replicaof", hosts[0].address if hosts else "127.0.0.1", "6400"]
            start = hosts[number].start if hosts else subprocess.Popen
            process = start(command, stdout=subprocess.DEVNULL)
            wait_until(path.exists, "redis-server")
            servers.append(Redis(process, path))
            stack.callback(servers[-1].close)
        wait_until(lambda: servers[0].info("connected_slaves") == count - 1, "redis replicas")
        wait_until(
            lambda: servers[0].ask("WAIT", str(count - 1), "100") == count - 1, "redis replicas"
        )
        yield servers
