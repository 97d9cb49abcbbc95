"""A Redis beside which nodes have their sessions: can be killed, stopped, emptied and measured.

It keeps its data as an append-only file, or not at all.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from benchmarks.nodes import process_cpu_s, wait_until
from clustersession.tools.demo.processes import free_port


class StoreServer:
    """One server on a port of loopback."""

    def __init__(self, directory: Path, *, keeps_data: bool) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise SystemExit("redis-server is not installed")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._directory = directory
        self._command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
            "yes" if keeps_data else "no", "--dir", str(directory),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.admin = redis.Redis(port=self.port)

    def start(self) -> None:
        """Start it, and wait until it has loaded what it kept."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, "redis-server")

    def kill(self) -> None:
        """End it as a power cut would."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def stop_breathing(self) -> None:
        """Have it keep its connections and answer nothing."""
        self._signal(signal.SIGSTOP)

    def breathe(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def forget_files(self) -> None:
        """Take away what it kept."""
        for path in self._directory.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def empty(self) -> None:
        """Have it forget everything while it runs."""
        self.admin.flushall()

    def info(self, name: str) -> int:
        """A number of INFO."""
        section: Any = self.admin.info()
        return int(section[name])

    def net_bytes(self) -> int:
        """How many it has read from all connections and written to them."""
        stats: Any = self.admin.info("stats")
        return int(stats["total_net_input_bytes"]) + int(stats["total_net_output_bytes"])

    def keys(self) -> int:
        """How many it has, those that are not sessions too."""
        count: Any = self.admin.dbsize()
        return int(count)

    def tell(self, batches: Iterable[Sequence[bytes]]) -> None:
        """Send commands, a batch at a time; raises SystemExit for one that is refused."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            answers = connection.makefile("rb")
            for batch in batches:
                connection.sendall(b"".join(batch))
                for _ in batch:
                    line = answers.readline()
                    if not line.startswith((b":", b"+")):
                        raise SystemExit(f"redis-server answered {line!r}")
            answers.close()

    def calls(self) -> dict[str, int]:
        """How often each command was called, those of functions included."""
        stats: Any = self.admin.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()}

    def cpu_s(self) -> float:
        """Processor seconds it has used."""
        return process_cpu_s(self.pid)

    def resident_bytes(self) -> int:
        """What the kernel says."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def close(self) -> None:
        """End it."""
        self.admin.close()
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def _answers(self) -> bool:
        try:
            return bool(self.admin.ping())
        except redis.RedisError:
            return False


@contextmanager
def store_server(*, keeps_data: bool = False) -> Iterator[StoreServer]:
    """One server, started; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="clustersession-store-") as name:
        server = StoreServer(Path(name), keeps_data=keeps_data)
        try:
            server.start()
            yield server
        finally:
            server.close()
