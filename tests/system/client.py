"""Requests as a browser makes them, each on a connection of its own, and a look at a node."""

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import status
from clustersession.replica.home import NodeHome
from clustersession.tools.demo.nodes import COOKIE_NAME, Node
from clustersession.tools.demo.processes import wait_for


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; ``cookie`` is the value set, if one was."""

    status: int
    data: Any
    cookie: str | None
    set_cookie: str | None

    @property
    def base_id(self) -> str:
        assert self.cookie is not None
        return self.cookie.partition(".")[0]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, which reaches into other network namespaces."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def request(
    node: Node | Path, method: str, path: str, cookie: str | None = None,
    body: object | None = None,
) -> Reply:
    """One request on a fresh connection, to a node or to the unix socket of a server."""
    headers = {"Connection": "close"}
    if cookie is not None:
        headers["Cookie"] = f"{COOKIE_NAME}={cookie}"
    content = None
    if body is not None:
        content = json.dumps(body)
        headers["Content-Type"] = "application/json"
    connection = (
        http.client.HTTPConnection("127.0.0.1", node.direct_port, timeout=20)
        if isinstance(node, Node)
        else UnixConnection(node)
    )
    try:
        # A server may answer before it has read the body, and close; its answer can still be read.
        with suppress(BrokenPipeError):
            connection.request(method, path, content, headers)
        response = connection.getresponse()
        text = response.read()
        set_cookie = response.getheader("Set-Cookie")
    finally:
        connection.close()
    value = None
    if set_cookie is not None and set_cookie.startswith(f"{COOKIE_NAME}="):
        value = set_cookie.removeprefix(f"{COOKIE_NAME}=").partition(";")[0]
    content_found = json.loads(text) if text[:1] in b"{[" else text
    return Reply(response.status, content_found, value, set_cookie)


def get(node: Node | Path, path: str, cookie: str | None = None) -> Reply:
    """GET."""
    return request(node, "GET", path, cookie)


def post(
    node: Node | Path, path: str, cookie: str | None = None, body: object | None = None
) -> Reply:
    """POST with a JSON body."""
    return request(node, "POST", path, cookie, body)


@contextmanager
def held_write(node: Node | Path, cookie: str) -> Iterator[Callable[[], Reply]]:
    """A request to a node that serves ``tests.support.gated_app``: it has read the session.

    Call what the block gets to let it write; that returns its response.
    """
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(post, node, "/api/held", cookie, {})

        def let_go() -> Reply:
            assert post(node, "/api/let-go").data == {"released": 1}
            return slow.result()

        try:
            wait_for(lambda: get(node, "/api/held").data == {"waiting": 1}, "the slow request")
            yield let_go
        finally:
            if not slow.done():
                post(node, "/api/let-go")


def new_session(node: Node | Path, **values: object) -> str:
    """A session with some attributes; returns its cookie."""
    cookie = None
    for key, value in values.items():
        reply = post(node, "/api/set", cookie, {"key": key, "value": value})
        assert reply.status == 200
        cookie = reply.cookie or cookie
    assert cookie is not None
    return cookie


def data(node: Node | Path, cookie: str) -> dict[str, Any]:
    """The session as the node sees it."""
    content: dict[str, Any] = get(node, "/api/session", cookie).data["data"]
    return content


def home(node: Node) -> NodeHome:
    """The directory of a node's replica."""
    (found,) = (p.parent for p in node.state_dir.glob("*/replica") if p.is_dir())
    return NodeHome(found)


def agent_status(node: Node) -> dict[str, Any]:
    """What its agent says of itself; nothing while there is none."""
    try:
        return status(home(node))
    except (AgentGone, ValueError, TimeoutError):
        return {"phase": "", "members": []}


def settled(node: Node, members: int) -> bool:
    """Whether the node is ready and sees so many members that are alive."""
    seen = agent_status(node)
    alive = sum(m["status"] == "alive" and m["phase"] == "ready" for m in seen["members"])
    return seen["phase"] == "ready" and alive == members
