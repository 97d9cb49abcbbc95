"""The store's password stands in nothing that anybody gets to read, whatever the store says."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from clustersession.core.ids import log_name
from clustersession.tools.demo.nodes import ClusterPorts, Node
from clustersession.tools.demo.processes import StepFailed, wait_for
from tests.store.servers import SERVERS, Server, required, running
from tests.support.apps import fastapi_under_uvicorn
from tests.system.client import agent_status, get, new_session
from tests.tools.dashboard.running import running_dashboard
from tests.tools.dashboard.visitor import Visitor

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

USER, PASSWORD = "shop", "hush/Hush%hush-9f3k"
FORMS = (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD))
COMMANDS = (
    "status", "status --json", "members", "members --json", "top --once", "sessions",
    "sessions --json", "metrics", "check", "check --json", "show {name}", "--version",
)


class Read:
    """Everything that was read, by where it stood."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def note(self, where: str, text: str) -> None:
        assert text, f"{where} says nothing"
        self.texts[where] = text

    def has_no_password(self) -> None:
        leaks = [w for w, text in self.texts.items() if any(form in text for form in FORMS)]
        assert not leaks


@pytest.fixture(params=SERVERS)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with running(required(request.param), tmp_path_factory.mktemp("s")) as server:
        lets_in(server, PASSWORD)
        yield server


def lets_in(store: Server, password: str) -> None:
    store.admin.execute_command(
        "ACL", "SETUSER", USER, "reset", "on", f">{password}", "~*", "&*", "+@all"
    )


@contextmanager
def node_with(store: str, directory: Path) -> Iterator[Node]:
    node = fastapi_under_uvicorn("web1", directory, ClusterPorts())
    node.program.environment |= {"CLUSTERSESSION_STORE": store}
    try:
        node.start()
        yield node
    finally:
        node.stop()


def url_of(store: Server, password: str = PASSWORD) -> str:
    return f"unix://{USER}:{quote(password, safe='')}@{store.socket}"


def look_everywhere(node: Node, key: str, when: str, read: Read, directory: Path) -> None:
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "clustersession", *command.format(name=log_name(key)).split()],
            env={**node.program.environment, "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
            capture_output=True, text=True, timeout=60,
        )
        read.note(f"{command}, {when}", done.stdout + done.stderr)
    place = directory / when
    place.mkdir()
    with running_dashboard(node, place) as (link, program):
        visitor = Visitor(link)
        answer = visitor.ask("GET", f"{visitor.link.path}?{visitor.link.query}")
        visitor.cookie = answer.cookie
        page = visitor.ask("GET", "/").body
        assert "store · " in page
        read.note(f"the page, {when}", page)
        read.note(f"the page's log, {when}", program.log_tail())


def look_at_logs(node: Node, when: str, read: Read) -> None:
    read.note(f"the server's log, {when}", node.program.log_path.read_text())
    read.note(f"the agent's log, {when}", "\n".join(node.log_lines()))


def state_of(node: Node) -> str:
    return str(agent_status(node).get("store", {}).get("state"))


def test_nothing_tells_it(store: Server, tmp_path: Path) -> None:
    read = Read()
    with node_with(url_of(store), tmp_path) as node:
        key = new_session(node, user="ann").partition(".")[0]
        wait_for(lambda: state_of(node) == "reached", "the store")
        look_everywhere(node, key, "while it is there", read, tmp_path)
        lets_in(store, "another")
        store.admin.execute_command("CLIENT", "KILL", "TYPE", "normal")
        wait_for(lambda: any("refuses user" in line for line in node.log_lines()), "the refusal")
        look_everywhere(node, key, "while it refuses", read, tmp_path)
        store.kill()
        wait_for(lambda: any("nobody listens" in line for line in node.log_lines()), "the end")
        look_everywhere(node, key, "while it is away", read, tmp_path)
        look_at_logs(node, "at the end", read)
    assert any(USER in text or "refuses" in text for text in read.texts.values())
    read.has_no_password()


@pytest.mark.parametrize("url", [
    "valkey://{user}:{password}@host:port/0", "valkeyy://{user}:{password}@host",
    "valkey://{user}:{password}@a,b", "valkey://{user}:{password}@host/x",
    "valkey://{user}:{password}@host?nonsense=1", "{user}:{password}@host",
    "valkey+sentinel://{user}:{password}@a?sentinel_password={password}",
])
def test_a_url_that_is_wrong_is_refused_without_it(url: str, tmp_path: Path) -> None:
    read = Read()
    wrong = url.format(user=USER, password=quote(PASSWORD, safe=""))
    node = fastapi_under_uvicorn("web1", tmp_path, ClusterPorts())
    node.program.environment |= {"CLUSTERSESSION_STORE": wrong}
    try:
        # Whether it ends or answers errors is not the question here.
        with suppress(StepFailed, OSError):
            node.start(3.0)
            get(node, "/api/session")
        read.note("the server's log", node.program.log_path.read_text())
    finally:
        node.stop()
    for command in ("check", "status"):
        done = subprocess.run(
            [sys.executable, "-m", "clustersession", command], capture_output=True, text=True,
            env={**node.program.environment, "PATH": "/usr/bin:/bin"}, timeout=60,
        )
        assert done.returncode
        read.note(command, done.stdout + done.stderr)
    assert "store" in "".join(read.texts.values())
    read.has_no_password()
