"""Two nodes that run an application, and a browser that follows like a sticky balancer."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from clustersession.tools.demo.nodes import COOKIE_NAME, ClusterPorts, Node, make_node
from clustersession.tools.demo.processes import wait_for
from tests.support.apps import ROOT

ADDED = re.compile(r"\bmember added\b")
LOST = re.compile(r"\bmember lost\b")
HIDDEN_FIELD = re.compile(r"""<input[^>]*\bname=["'](?P<name>[^"']+)["'][^>]*>""")
VALUE = re.compile(r"""\bvalue=["'](?P<value>[^"']*)["']""")
REQUEST_S_MAX = 20
START_S_MAX = 60

ROUTES = ("one", "two")


class Browser:
    """A browser whose requests go to the node that its cookie names, while that lives.

    Cookies are kept for the host, whatever the port: a change of node is none of site.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = {node.route: node for node in nodes}
        self.client = httpx.Client(timeout=REQUEST_S_MAX, follow_redirects=False)

    @property
    def session_cookie(self) -> str | None:
        """The session's cookie, whole."""
        return self.client.cookies.get(COOKIE_NAME)

    @property
    def session_id(self) -> str | None:
        """The id in the cookie, without its route."""
        cookie = self.session_cookie
        return None if cookie is None else cookie.partition(".")[0]

    @property
    def node(self) -> Node:
        """The node that the next request goes to."""
        route = (self.session_cookie or "").partition(".")[2]
        living = [node for node in self._nodes.values() if node.pids()]
        return next((node for node in living if node.route == route), living[0])

    @property
    def origin(self) -> str:
        """Where the next request goes."""
        return f"http://127.0.0.1:{self.node.port}"

    def get(self, path: str, *, on: Node | None = None, **options: object) -> httpx.Response:
        """GET a path, following redirects, on the node of the cookie or on one that is named."""
        return self.request("GET", path, on=on, **options)

    def post(self, path: str, *, on: Node | None = None, **options: object) -> httpx.Response:
        """POST to a path, following redirects."""
        return self.request("POST", path, on=on, **options)

    def request(
        self, method: str, path: str, *, on: Node | None = None, follow: bool = True,
        **options: object,
    ) -> httpx.Response:
        """Make a request; redirects are followed by the rule of the balancer, like requests."""
        node = on or self.node
        url = path if path.startswith("http") else f"http://127.0.0.1:{node.port}{path}"
        reply = self.client.request(method, url, **options)  # type: ignore[arg-type]
        hops = 0
        while follow and reply.is_redirect and hops < 10:
            hops += 1
            place = str(reply.url.join(reply.headers["location"]).raw_path, "ascii")
            target = f"http://127.0.0.1:{(on or self.node).port}{place}"
            keeps_method = reply.status_code in (307, 308)
            reply = self.client.request(method if keeps_method else "GET", target)
        return reply

    def hidden_fields(self, html: str) -> dict[str, str]:
        """Read the inputs of a form that have a value, such as its CSRF token."""
        found = {}
        for match in HIDDEN_FIELD.finditer(html):
            value = VALUE.search(match.group())
            if value is not None:
                found[match["name"]] = value["value"]
        return found


@dataclass(slots=True)
class Stand:
    """The nodes ``one`` and ``two``, which have found each other, and a browser."""

    nodes: Sequence[Node]
    browser: Browser
    directory: Path
    _browsers: list[Browser] = field(default_factory=list)

    @property
    def one(self) -> Node:
        """The first node."""
        return self.nodes[0]

    @property
    def two(self) -> Node:
        """The second node."""
        return self.nodes[1]

    def another_browser(self) -> Browser:
        """Make one more browser, without cookies."""
        browser = Browser(self.nodes)
        self._browsers.append(browser)
        return browser

    def browser_holding(self, cookie: str | None) -> Browser:
        """Make a browser that has kept this session cookie, whatever became of it."""
        browser = self.another_browser()
        browser.client.cookies.set(COOKIE_NAME, str(cookie))
        return browser

    def kill(self, node: Node) -> None:
        """End every process of a node with kill -9."""
        node.kill()

    def start(self, node: Node) -> None:
        """Start a killed node again, and wait for the other to see it.

        With a store the other notices a death by silence only; one that is back before is not lost.
        """
        others = [other for other in self.nodes if other is not node and other.pids()]
        before = [len(other.lines_about(node.route, ADDED)) for other in others]
        for other, count in zip(others, before, strict=True):
            other.wait_for_line(node.route, LOST, count - 1, START_S_MAX)
        node.start(START_S_MAX)
        _wait_for_answer(node)
        for other, count in zip(others, before, strict=True):
            other.wait_for_line(node.route, ADDED, count, START_S_MAX)

    def logs(self) -> str:
        """What the servers wrote."""
        return "\n".join(
            f"-- {node.route}\n{(node.directory / 'server.log').read_text(errors='replace')}"
            for node in self.nodes
        )

    def close(self) -> None:
        """Close the browsers."""
        for browser in (self.browser, *self._browsers):
            browser.client.close()


@contextmanager
def stand(
    app_directory: Path,
    command: Sequence[str],
    directory: Path,
    packages: Path,
    prepare: Sequence[Sequence[str]] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Stand]:
    """Serve an application on two nodes; its libraries are in ``packages``.

    The application finds the directory that both nodes share, for a database, in RECIPE_DIRECTORY.
    """
    own = {
        # The project's own tests before a package of that name, which some libraries bring along.
        "PYTHONPATH": os.pathsep.join(map(str, (packages, app_directory, ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "RECIPE_DIRECTORY": str(directory),
        **(environment or {}),
    }
    ports = ClusterPorts()
    for words in prepare:
        settings = ports.environment("prepare", directory / "prepare")
        result = subprocess.run(
            [sys.executable if words[0] == "python" else words[0], *words[1:]],
            cwd=app_directory, env={**os.environ, **settings, **own}, capture_output=True,
            text=True, check=False, timeout=START_S_MAX,
        )
        if result.returncode:
            raise RuntimeError(f"{' '.join(words)}:\n{result.stdout}{result.stderr}"[-4000:])
    with ExitStack() as cleanup:
        nodes = [
            make_node(
                route, directory, ports, command, app_directory=app_directory, environment=own
            )
            for route in ROUTES
        ]
        for node in nodes:
            cleanup.callback(node.stop)
            node.start(START_S_MAX)
        made = Stand(nodes, Browser(nodes), directory)
        cleanup.callback(made.close)
        for node in nodes:
            _wait_for_answer(node)
        for node, other in zip(nodes, reversed(nodes), strict=True):
            node.wait_for_line(other.route, ADDED, deadline_s=START_S_MAX)
        yield made


def _wait_for_answer(node: Node) -> None:
    # Without a start hook a node joins at its first request.
    wait_for(lambda: _answers(node), f"{node.route} to answer", START_S_MAX)


def _answers(node: Node) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{node.port}/", timeout=REQUEST_S_MAX).status_code < 600
    except httpx.HTTPError:
        return False
