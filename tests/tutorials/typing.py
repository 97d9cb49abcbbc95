"""Types a tutorial into a shell, in an empty folder, as a user whose home is empty too."""

import re
import socket
import subprocess
from pathlib import Path

from clustersession.tools.demo.processes import wait_for
from tests.drill.document import Command
from tests.drill.shell import Shell
from tests.support.processes import free_port
from tests.tutorials.tutorial import File, read

SEEN_WITHIN_S = 30.0
_PORT = re.compile(r"\b(800[12])\b")


class Typist:
    """Sits before one terminal. The ports of the page become free ones."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self._ports = {"8001": str(free_port()), "8002": str(free_port())}
        self._shell = Shell(
            subprocess.Popen, directory, HOME=str(directory), XDG_STATE_HOME=str(directory),
            CLUSTERSESSION_MULTICAST_PORT=str(free_port(socket.SOCK_DGRAM)),
            **environment,
        )
        self._shell.run("set -m")  # as in every terminal: a job is a group of processes

    def follow(self, page: Path) -> str:
        """Do all that the page says, and see what it shows; what was typed and printed."""
        transcript = []
        for step in read(page):
            if isinstance(step, File):
                step.save(self.directory / "shop")
            else:
                transcript.append(f"$ {step.text}\n{self._type(step)}")
        return "".join(transcript)

    def close(self) -> None:
        """End the shell and its jobs."""
        self._shell.close()

    def _type(self, command: Command) -> str:
        text = _PORT.sub(lambda port: self._ports[port[0]], command.text)
        output = ""

        def seen() -> bool:
            nonlocal output
            output, status = self._shell.run(text)
            assert status == 0 or command.text.startswith("clustersession"), f"$ {text}\n{output}"
            return not command.missing(output)

        if command.text.startswith("clustersession"):  # the page says to type it again
            wait_for(seen, text, SEEN_WITHIN_S)
        else:
            assert seen(), f"$ {text}\nlacks {command.missing(output)!r}:\n{output}{self._logs()}"
        return output

    def _logs(self) -> str:
        logs = sorted(self.directory.glob("shop/*.log"))
        return "".join(f"\n{log.name}:\n{log.read_text()}" for log in logs)
