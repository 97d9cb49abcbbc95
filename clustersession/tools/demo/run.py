"""Walks through the reference scenario on this machine, every step with its real output.

Two nodes under uvicorn, a sticky balancer in front, all on loopback and in a directory of their own
that is removed at the end.
"""

import importlib.util
import select
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from clustersession.tools.demo.balancers import make_balancer
from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node, uvicorn_command
from clustersession.tools.demo.processes import Program, StepFailed, free_port
from clustersession.tools.demo.scenario import ADDED, LOST, Scenario

ROUTES = ("tomcat1", "tomcat2")
DEMO_APP = "clustersession.tools.demo.app:app"
REQUIREMENTS = ("fastapi", "uvicorn")
WATCH_INTERVAL_S = 0.2
LOG_LINES_SHOWN = 20


class Interrupted(Exception):
    """The user pressed Ctrl-C, or the process was asked to end."""


def run_demo(
    serve: bool = False, *, port: int = 0, app: str = DEMO_APP, app_directory: Path | None = None,
    output: TextIO | None = None,
) -> int:
    """Walk through the reference scenario; returns the exit status, 0 only if every step held.

    ``serve`` keeps nodes and balancer running instead, for a browser and the user's own kill -9,
    until Ctrl-C. ``port`` is the balancer's, 0 for any free one. ``app`` is what uvicorn serves.
    """
    story = _Story(output or sys.stdout)
    missing = [name for name in REQUIREMENTS if importlib.util.find_spec(name) is None]
    if missing:
        story.line(f"the demo needs {' and '.join(missing)}: pip install 'clustersession[demo]'")
        return 2
    handlers = {
        number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with tempfile.TemporaryDirectory(prefix="clustersession-demo-") as directory, \
                ExitStack() as cleanup:
            place = Path(directory)
            nodes, balancer_port = _start(place, port, app, app_directory, story, cleanup)
            try:
                if serve:
                    _serve(nodes, balancer_port, story)
                else:
                    _walk(nodes, balancer_port, story)
            except StepFailed:
                _tell_logs(nodes, story)
                raise
        return 0
    except StepFailed as error:
        story.line(f"\nFAILED: {error}")
        return 1
    except Interrupted:
        story.line("\nended; everything the demo started has been stopped")
        return 0 if serve else 130
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _Story:
    """Prints the demo's lines, with the time since its start before each heading."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._started_s = time.monotonic()
        self._step = 0

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def heading(self, text: str) -> None:
        self._step += 1
        self.line(f"\n[{self.elapsed_s:5.1f} s] {self._step}. {text}")

    def detail(self, text: str) -> None:
        self.line(f"            {text}")

    def line(self, text: str) -> None:
        print(text, file=self._output, flush=True)


def _start(
    directory: Path, port: int, app: str, app_directory: Path | None, story: _Story,
    cleanup: ExitStack,
) -> tuple[list[Node], int]:
    # httpd, started by root, serves as another user, who must be able to reach its directory.
    directory.chmod(0o755)
    ports = ClusterPorts()
    story.heading("Two nodes and a sticky balancer start")
    nodes = [
        make_node(route, directory, ports, uvicorn_command(app), app_directory=app_directory)
        for route in ROUTES
    ]
    for node in nodes:
        cleanup.callback(node.stop)
        node.start()
        story.detail(f"{node.route} listens on 127.0.0.1:{node.port}, server {node.program.pid}")
    balancer_port = port or free_port()
    name, balancer = make_balancer(
        balancer_port, {node.route: node.port for node in nodes}, directory
    )
    cleanup.callback(balancer.stop)
    _start_balancer(balancer, balancer_port)
    story.detail(f"{name} listens on 127.0.0.1:{balancer_port}")
    return nodes, balancer_port


def _start_balancer(balancer: Program, port: int) -> None:
    balancer.start()
    balancer.wait_until_listening(port)


def _walk(nodes: list[Node], balancer_port: int, story: _Story) -> None:
    scenario = Scenario(nodes, balancer_port, story.detail)
    story.heading("The nodes find each other")
    scenario.form_cluster()
    story.heading("A visitor opens the page")
    scenario.open_page()
    story.heading("The visitor refreshes: sticky")
    scenario.refresh()
    story.heading("The visitor, and five others, put data into their sessions")
    scenario.write()
    story.heading("The whole node of the visitor is killed")
    dead, survivor = scenario.kill_home()
    story.heading("The visitor refreshes and notices nothing")
    scenario.survive(survivor)
    story.heading("The survivor's log names the lost member, once")
    scenario.read_loss(dead, survivor)
    story.heading("The killed node comes back with every session")
    scenario.bring_back(dead, survivor)
    story.line(f"\nEvery step held, in {story.elapsed_s:.1f} s.")


def _serve(nodes: list[Node], balancer_port: int, story: _Story) -> None:
    """Keep it running: report member changes, and start a node again that the user has killed."""
    Scenario(nodes, balancer_port, story.detail).form_cluster()
    story.line(f"\nOpen http://127.0.0.1:{balancer_port}/, refresh, then kill the node it names:")
    for node in nodes:
        _tell_pids(node, story)
    story.line("A killed node is started again when you press Enter. Ctrl-C ends everything.\n")
    seen = {node.route: len(_events(node)) for node in nodes}
    while True:
        for node in nodes:
            events = _events(node)
            for line in events[seen[node.route]:]:
                story.detail(f"{node.route} logs: {line}")
            seen[node.route] = len(events)
        if _enter_pressed(WATCH_INTERVAL_S):
            for node in nodes:
                if node.program.process is not None and node.program.process.poll() is not None:
                    node.kill()
                    node.start()
                    _tell_pids(node, story)


def _events(node: Node) -> list[str]:
    return [line for line in node.log_lines() if ADDED.search(line) or LOST.search(line)]


def _tell_pids(node: Node, story: _Story) -> None:
    story.line(f"    {node.route}:  kill -9 {' '.join(map(str, node.pids()))}")


def _tell_logs(nodes: list[Node], story: _Story) -> None:
    """Print what the reader of a failed demo needs, before the directory goes."""
    for node in nodes:
        for name, lines in (
            ("server", node.program.log_tail().splitlines()), ("agent", node.log_lines())
        ):
            story.line(f"\n--- end of the {name} log of {node.route}")
            for line in lines[-LOG_LINES_SHOWN:]:
                story.line(line)


def _enter_pressed(timeout_s: float) -> bool:
    """Tell whether a line came from the terminal; without one, just pause."""
    if not sys.stdin.isatty():
        time.sleep(timeout_s)
        return False
    ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
    return bool(ready) and bool(sys.stdin.readline())


def _interrupt(number: int, frame: object) -> None:
    # A second Ctrl-C must not cut the cleaning up short.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted
