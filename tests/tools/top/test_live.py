"""``clustersession top`` in a real pseudo-terminal, and where there is none."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from clustersession.cli import main
from clustersession.tools.demo.processes import wait_for
from tests.support.node_process import node_process
from tests.worker.thread_nodes import login, running_nodes


class Terminal:
    """A program on a pseudo-terminal; what it has drawn so far."""

    def __init__(self, *command: str, term: str = "xterm") -> None:
        self._master, slave = pty.openpty()
        self.resize(30, 120)
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        # As many runners of tests start theirs: what is inherited must not matter.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.process = subprocess.Popen(
                command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                env={**os.environ, "TERM": term, "COLUMNS": "120", "LINES": "30"},
            )
        finally:
            signal.signal(signal.SIGINT, before)
        self.drawn = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def attributes(self) -> list[object]:
        return termios.tcgetattr(self._slave)

    @property
    def frame(self) -> list[str]:
        """The last whole frame, without colours."""
        whole = re.findall(r"\x1b\[H((?:(?!\x1b\[H).)*)\x1b\[J", self.drawn, re.DOTALL)
        return re.sub(r"\x1b\[[\d;]*[mK]", "", whole[-1] if whole else "").split("\r\n")

    def shows(self, text: str) -> bool:
        return any(text in line for line in self.frame)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self._slave)
        self._reader.join(10)
        os.close(self._master)

    def _read(self) -> None:
        with suppress(OSError):
            while data := os.read(self._master, 65536):
                self.drawn += data.decode(errors="replace")


def command(directory: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "clustersession", "--state-dir", str(directory),
            "--route", "node1", "top", "--interval", "0.1", *arguments]


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


@pytest.mark.system
def test_it_lives_and_sees_a_node_go(tmp_path: Path, terminals: list[Terminal]) -> None:
    with running_nodes(tmp_path, 2) as (first, second):
        terminal = Terminal(*command(tmp_path))
        terminals.append(terminal)
        wait_for(lambda: terminal.shows("2 nodes"), "two nodes on the screen")
        login(first.manager(), "ann")
        wait_for(lambda: terminal.shows("sessions 1,"), "the session on the screen")
        terminal.resize(8, 40)
        wait_for(
            lambda: 0 < len(terminal.frame) <= 8 and max(map(len, terminal.frame)) <= 40,
            "it to fit",
        )
        terminal.resize(30, 160)
        terminal.press(b"p")
        wait_for(lambda: terminal.shows("PAUSED"), "the pause")
        second.close()
        wait_for(lambda: first.manager().cluster.serving_routes() == {"node1"}, "it to be gone")
        assert terminal.shows("2 nodes")
        terminal.press(b"p")
        wait_for(lambda: terminal.shows("1 node "), "one node on the screen")
        assert terminal.shows("member left: node2")
        assert terminal.attributes() != terminal.before
        terminal.press(b"q")
        assert terminal.process.wait(10) == 0
        assert terminal.attributes() == terminal.before
        wait_for(lambda: terminal.drawn.endswith("\x1b[?25h\x1b[?1049l"), "the screen to be back")


@pytest.mark.system
def test_it_sees_a_node_killed_and_come_back(tmp_path: Path, terminals: list[Terminal]) -> None:
    with (
        running_nodes(tmp_path, 1) as (first,),
        node_process("node2", tmp_path / "second", first) as second,
    ):
        terminal = Terminal(*command(tmp_path))
        terminals.append(terminal)
        wait_for(lambda: terminal.shows("2 nodes"), "two nodes on the screen")
        second.kill()
        wait_for(lambda: terminal.shows("1 node "), "one node on the screen")
        wait_for(lambda: terminal.shows("connection refused"), "the reason")
        wait_for(lambda: terminal.shows("warning member lost: node2"), "the line of the log")
        assert any(re.match(r"node2 .* dead .* no ", line) for line in terminal.frame)
        second.start()
        wait_for(lambda: terminal.shows("2 nodes"), "two nodes on the screen again")
        assert not any(re.match(r"node2 .* dead ", line) for line in terminal.frame)


@pytest.mark.system
def test_the_agent_may_go_and_ctrl_c_ends_it(tmp_path: Path, terminals: list[Terminal]) -> None:
    with running_nodes(tmp_path, 1) as (node,):
        terminal = Terminal(*command(tmp_path))
        terminals.append(terminal)
        wait_for(lambda: terminal.shows("1 node "), "the node on the screen")
        node.close()
        wait_for(lambda: terminal.shows("no agent"), "it to notice")
        node.start()
        wait_for(lambda: terminal.shows("ready"), "the node to be back on the screen")
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.process.wait(10) == 0
        assert terminal.attributes() == terminal.before


@pytest.mark.system
def test_a_dumb_terminal_gets_lines(tmp_path: Path, terminals: list[Terminal]) -> None:
    with running_nodes(tmp_path, 1):
        terminal = Terminal(*command(tmp_path), term="dumb")
        terminals.append(terminal)
        wait_for(lambda: terminal.drawn.count("clustersession clustersession") >= 2, "two looks")
        assert "\x1b" not in terminal.drawn


def test_once_and_metrics_without_a_port(tmp_path: Path) -> None:
    with running_nodes(tmp_path, 1):
        options = ["--state-dir", str(tmp_path), "--route", "node1"]
        result = CliRunner().invoke(main, [*options, "top", "--once"])
        assert result.exit_code == 0, result.output
        assert "per second: commits 0.0" in result.output
        result = CliRunner().invoke(main, [*options, "metrics"])
        assert result.exit_code == 0, result.output
        assert 'clustersession_node_info{cluster="clustersession"' in result.output
        assert "clustersession_commits_total 0.0" in result.output
