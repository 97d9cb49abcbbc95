"""The store of a cluster under fault: a real server on a host of its own, and what happens to it.

It appends every command to a file, so that it comes back with what it had unless that is taken from
it. Its files are on a small file system of their own, so that it can be full.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.store.servers import Server, required
from tests.support.disks import fill, small_disk
from tests.support.namespaces import Host

STORE = "store"
PORT = 6379
DISK_MIB = 128
FULL_BYTES = 1
_FILES = "appendonlydir"
_BASE = "appendonly.aof.1.base.rdb"
_OPTIONS = (
    "--bind", "*", "--protected-mode", "no", "--appendonly", "yes",
    "--auto-aof-rewrite-min-size", "16mb",
)


class FaultStore:
    """One server, and everything that may be done to it."""

    def __init__(self, host: Host, kind: str, program: str, directory: Path) -> None:
        self.host = host
        self.kind = kind
        self._directory = directory
        self._filling = directory / "filling"
        inside = ("ip", "netns", "exec", host.name)
        self._server = Server(program, directory, *_OPTIONS, port=PORT, inside=inside)

    @property
    def url(self) -> str:
        """Where it is, for the setting ``store``."""
        return f"valkey://{self.host.address}:{PORT}"

    def start(self) -> None:
        """Start it with what its files say."""
        self._server.start()

    def kill(self) -> None:
        """kill -9."""
        self._server.kill()

    def stop(self) -> None:
        """SIGSTOP."""
        self._server.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._server.go_on()

    def forget(self) -> None:
        """Take its files, while it is down."""
        shutil.rmtree(self._directory / _FILES)

    def save(self) -> None:
        """Make a backup of what it has now."""
        self._server.admin.save()

    def set_back(self) -> None:
        """Put the backup in the place of its files, while it is down."""
        self.forget()
        (self._directory / _FILES).mkdir()
        shutil.copyfile(self._directory / "dump.rdb", self._directory / _FILES / _BASE)
        manifest = self._directory / _FILES / "appendonly.aof.manifest"
        manifest.write_text(f"file {_BASE} seq 1 type b\n")

    def flush(self) -> None:
        """FLUSHALL."""
        self._server.admin.flushall()

    def fill_memory(self) -> None:
        """Have it refuse whatever takes memory."""
        self._server.admin.config_set("maxmemory", FULL_BYTES)

    def free_memory(self) -> None:
        """The end of ``fill_memory``."""
        self._server.admin.config_set("maxmemory", 0)

    def fill_disk(self) -> None:
        """Leave no free block for its files."""
        fill(self._filling)

    def free_disk(self) -> None:
        """The end of ``fill_disk``."""
        self._filling.unlink()


@contextmanager
def store_on(host: Host, kind: str, directory: Path) -> Iterator[FaultStore]:
    """Start a server of a kind on a host, and end it."""
    program = required(kind)
    directory.mkdir()
    with small_disk(directory, f"{DISK_MIB}m"):
        store = FaultStore(host, kind, program, directory)
        try:
            store.start()
            yield store
        finally:
            with suppress(ProcessLookupError):
                store.kill()


