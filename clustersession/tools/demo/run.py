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
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from clustersession.tools.demo.balancers import make_balancer
from clustersession.tools.demo.keeper import kept
from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node, uvicorn_command
from clustersession.tools.demo.processes import Program, StepFailed, free_port
from clustersession.tools.demo.scenario import ADDED, LOST, Scenario
from clustersession.tools.demo.store import MISSING, DemoStore, make_store, store_program
from clustersession.tools.demo.store_scenario import STORE, StoreScenario
from clustersession.tools.demo.story import Story

ROUTES = ("tomcat1", "tomcat2")
DEMO_APP = "clustersession.tools.demo.app:app"
REQUIREMENTS = ("fastapi", "uvicorn")
WATCH_INTERVAL_S = 0.2
LOG_LINES_SHOWN = 20


class Interrupted(Exception):
    """The user pressed Ctrl-C, or the process was asked to end."""


def run_demo(
    serve: bool = False, *, store: bool = False, port: int = 0, app: str = DEMO_APP,
    app_directory: Path | None = None, output: TextIO | None = None,
) -> int:
    """Walk through the reference scenario; returns the exit status, 0 only if every step held.

    ``serve`` keeps nodes and balancer running instead, for a browser and the user's own kill -9,
    until Ctrl-C. ``store``: with a store in the place of peers. ``port`` is the balancer's, 0 for
    any free one. ``app`` is what uvicorn serves.
    """
    story = Story(output or sys.stdout)
    program = store_program() if store else None
    missing = _missing(wants_store=store, program=program)
    if missing:
        story.line(missing)
        return 2
    handlers = {
        number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with tempfile.TemporaryDirectory(prefix="clustersession-demo-") as directory, \
                ExitStack() as cleanup:
            demo = _start(Path(directory), port, program, app, app_directory, story, cleanup)
            _run(demo, serve, story)
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


def _missing(*, wants_store: bool, program: str | None) -> str:
    """Say what has to be installed first; empty for nothing."""
    missing = [name for name in REQUIREMENTS if importlib.util.find_spec(name) is None]
    if missing:
        return f"the demo needs {' and '.join(missing)}: pip install 'clustersession[demo]'"
    return MISSING if wants_store and program is None else ""


def _run(demo: "_Demo", serve: bool, story: Story) -> None:
    try:
        if serve:
            _serve(demo, story)
        elif demo.store is not None:
            _walk_with_store(demo, demo.store, story)
        else:
            _walk(demo, story)
    except StepFailed:
        _tell_logs(demo.nodes, story)
        raise


@dataclass(slots=True)
class _Demo:
    """Is what was started. store: None where the nodes are each other's peers."""

    nodes: list[Node]
    balancer_port: int
    cluster_name: str
    store: DemoStore | None


def _start(
    directory: Path, port: int, store_program: str | None, app: str, app_directory: Path | None,
    story: Story, cleanup: ExitStack,
) -> _Demo:
    # httpd, started by root, serves as another user, who must be able to reach its directory.
    directory.chmod(0o755)
    cleanup.enter_context(kept(directory))
    ports = ClusterPorts()
    story.heading(f"{'A store, two' if store_program else 'Two'} nodes and a sticky balancer start")
    store = _start_store(store_program, directory, story, cleanup) if store_program else None
    environment = {} if store is None else {"CLUSTERSESSION_STORE": store.url}
    nodes = [
        make_node(route, directory, ports, uvicorn_command(app), app_directory=app_directory,
                  environment=environment)
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
    balancer.start()
    balancer.wait_until_listening(balancer_port)
    story.detail(f"{name} listens on 127.0.0.1:{balancer_port}")
    return _Demo(nodes, balancer_port, ports.name, store)


def _start_store(
    program: str, directory: Path, story: Story, cleanup: ExitStack
) -> DemoStore:
    store = make_store(program, directory)
    cleanup.callback(store.program.stop)
    store.start()
    name = Path(program).name
    story.detail(f"{name} listens on 127.0.0.1:{store.port}, process {store.program.pid}")
    return store


def _walk(demo: _Demo, story: Story) -> None:
    scenario = Scenario(demo.nodes, demo.balancer_port, story.detail)
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


def _walk_with_store(demo: _Demo, store: DemoStore, story: Story) -> None:
    scenario = StoreScenario(
        demo.nodes, demo.balancer_port, store, demo.cluster_name, story.detail
    )
    story.heading("The nodes reach the store, and find each other in it")
    scenario.meet()
    story.heading("A login on one host, the page on the other")
    scenario.log_in()
    with scenario.clicking():
        story.heading("The store is killed, and everybody clicks on")
        scenario.kill_store()
        story.heading("The store comes back empty")
        scenario.start_store()
        story.heading("Somebody empties the store")
        scenario.empty_store()
    story.heading("A whole host is killed, and its users go on elsewhere")
    dead, survivor = scenario.kill_host()
    story.heading("The killed host comes back with nothing")
    scenario.bring_back(dead, survivor)
    story.line(f"\nEvery step held, in {story.elapsed_s:.1f} s.")


def _serve(demo: _Demo, story: Story) -> None:
    """Keep it running: report what is logged, and start again what the user has killed."""
    Scenario(demo.nodes, demo.balancer_port, story.detail).form_cluster()
    _tell_what_to_do(demo, story)
    seen = {node.route: len(_events(node)) for node in demo.nodes}
    while True:
        for node in demo.nodes:
            events = _events(node)
            for line in events[seen[node.route]:]:
                story.detail(f"{node.route} logs: {line}")
            seen[node.route] = len(events)
        if _enter_pressed(WATCH_INTERVAL_S):
            for node in demo.nodes:
                if _has_ended(node.program):
                    node.kill()
                    node.start()
                    _tell_pids(node, story)
            if demo.store is not None and _has_ended(demo.store.program):
                demo.store.start()
                story.line(f"    the store:  kill -9 {demo.store.program.pid}")


def _tell_what_to_do(demo: _Demo, story: Story) -> None:
    story.line(f"\nOpen http://127.0.0.1:{demo.balancer_port}/, refresh, then kill the node it "
               "names:")
    for node in demo.nodes:
        _tell_pids(node, story)
    store = demo.store
    if store is not None:
        story.line("or the store, or empty it:")
        story.line(f"    kill -9 {store.program.pid}")
        story.line(f"    REDISCLI_AUTH=$(cat {store.password_file}) redis-cli -p {store.port} "
                   "FLUSHALL")
    story.line("Look at a node:")
    story.line(f"    clustersession --state-dir {demo.nodes[0].state_dir} top")
    story.line("What was killed is started again when you press Enter. Ctrl-C ends everything.\n")


def _has_ended(program: Program) -> bool:
    return program.process is not None and program.process.poll() is not None


def _events(node: Node) -> list[str]:
    return [line for line in node.log_lines() if any(e.search(line) for e in (ADDED, LOST, STORE))]


def _tell_pids(node: Node, story: Story) -> None:
    story.line(f"    {node.route}:  kill -9 {' '.join(map(str, node.pids()))}")


def _tell_logs(nodes: list[Node], story: Story) -> None:
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
