"""Nodes with a store, looks at how they see it, and users who click all the time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from clustersession.tools.demo.nodes import ClusterPorts, Node
from clustersession.tools.demo.processes import wait_for
from tests.store.servers import Server
from tests.support.apps import fastapi_under_uvicorn
from tests.support.starting import start_together
from tests.system.client import agent_status, data, get, new_session, post, settled

FETCH_TIMEOUT_S = 0.25
ACK_TIMEOUT_S = 1.0
SLACK_S = 2.0
"""What a machine that is busy may add to a request."""

Make = Callable[[str, Path, ClusterPorts], Node]


def start_nodes_with(
    cleanup: ExitStack, directory: Path, *wanted: tuple[Make, str], meet: bool = True,
    **settings: object,
) -> list[Node]:
    """Start nodes that see each other in a store, one of the settings; unless they cannot meet."""
    ports = ClusterPorts()
    nodes = [make(route, directory, ports) for make, route in wanted]
    for node in nodes:
        node.program.environment |= environment(settings)
    start_together(nodes, cleanup)
    for node in nodes:
        get(node, "/api/whoami")
    for node in nodes if meet else ():
        wait_for(lambda n=node: settled(n, len(nodes) - 1), f"{node.route} to be ready")
    return nodes


@contextmanager
def two_nodes(
    directory: Path, store: str, *, meet: bool = True, **settings: object
) -> Iterator[tuple[Node, Node]]:
    """Two nodes with the store of that URL."""
    with ExitStack() as cleanup:
        wanted = [(fastapi_under_uvicorn, route) for route in ("web1", "web2")]
        first, second = start_nodes_with(
            cleanup, directory, *wanted, meet=meet, store=store, **settings
        )
        yield first, second


def environment(settings: dict[str, object]) -> dict[str, str]:
    """Settings as variables of the environment."""
    return {f"CLUSTERSESSION_{name.upper()}": str(value) for name, value in settings.items()}


def eventually_holds(node: Node, cookie: str, wanted: dict[str, object]) -> None:
    """A node serves a session as it is wanted, in a moment."""
    wait_for(lambda: data(node, cookie) == wanted, f"{node.route} to serve {wanted}")


def store_status(node: Node) -> dict[str, object]:
    """What a node says of its store."""
    found: dict[str, object] = agent_status(node).get("store", {})
    return found


def is_reached(node: Node) -> bool:
    """Whether a node has its store, and has compared all that it holds with it."""
    seen = store_status(node)
    return seen.get("state") == "reached" and seen.get("compared") is True


def carried(node: Node) -> int:
    """How many writes its workers have had confirmed by the store themselves."""
    return int(str(store_status(node).get("carried", 0)))


def log_in(node: Node, user: str) -> str:
    """A new session of a user; returns its cookie."""
    cookie = post(node, "/api/login", None, {"user": user}).cookie
    assert cookie is not None
    return cookie


def check_index(server: Server) -> None:
    """There is an index of a user, and each names the sessions that are there to their ends."""
    indexes: Any = server.admin.keys("*:u:*:sessions")
    assert indexes
    for index in indexes:
        entries: Any = server.admin.zrange(index, 0, -1, withscores=True)
        for member, until_ms in entries:
            session = index.partition(b"u:{")[0] + b"s:{%b}" % member[48:]
            ends_ms: Any = server.admin.pexpiretime(session)
            assert until_ms >= ends_ms, f"{until_ms} {ends_ms}"


class Clicks:
    """A user who clicks without a pause: what each click brought, and how long it took.

    The first thing that is wrong ends the clicks, and is raised where somebody waits for more of
    them or has had enough.
    """

    def __init__(self, node: Node, cookie: str) -> None:
        self._node, self._cookie = node, cookie
        self.statuses: set[int] = set()
        self.longest_s = 0.0
        self.count = 0
        self._wrong: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._click_on)

    def _click_on(self) -> None:
        try:
            while not self._stop.is_set():
                self._click()
        except Exception as error:
            self._wrong = error

    def _click(self) -> None:
        began_s = time.monotonic()
        reply = post(self._node, "/api/count", self._cookie, {})
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)
        self.statuses.add(reply.status)
        if reply.status == 200:
            self.count += 1
            counted = reply.data["count"]
            if counted != self.count:
                raise AssertionError(
                    f"{self._node.route} counts {counted} clicks, its user {self.count}"
                )

    def __enter__(self) -> "Clicks":
        self._thread.start()
        try:
            self._wait_for(4, "some clicks")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._end()
        if self._wrong is not None and error is None:
            raise self._wrong

    def go_on(self) -> None:
        """Wait for some more."""
        self._wait_for(self.count + 6, "clicks to go on")

    def _wait_for(self, count: int, what: str) -> None:
        wait_for(lambda: self._wrong or self.count >= count, what)
        if self._wrong is not None:
            raise self._wrong

    def _end(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def clicks_everywhere(nodes: list[Node]) -> Iterator[list[Clicks]]:
    """A user on each node, none of whose requests may fail or hang."""
    with ExitStack() as stack:
        users = [stack.enter_context(Clicks(n, new_session(n, user=n.route))) for n in nodes]
        yield users
    for user in users:
        assert user.statuses == {200}
        assert user.longest_s <= FETCH_TIMEOUT_S + ACK_TIMEOUT_S + SLACK_S


