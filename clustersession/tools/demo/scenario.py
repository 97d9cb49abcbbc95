"""Takes the reference scenario's steps, for the demo and for the tests against real balancers.

Two nodes behind a sticky balancer: the cookie names the node, refreshing stays there, kill -9 of
the whole node loses nothing and the next answer comes from the other node, which logs the loss
once; the killed node comes back, is logged once, and has every session.
"""

import http.client
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

from clustersession.tools.demo.nodes import COOKIE_NAME, Node
from clustersession.tools.demo.processes import StepFailed

REFRESHES = 20
OTHER_SESSIONS = 5
REQUEST_TIMEOUT_S = 15.0
LOST = re.compile(r"\bmember lost\b")
ADDED = re.compile(r"\bmember added\b")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Reply:
    """Holds what was answered: a JSON body, and the session cookie if one was set."""

    status: int
    body: dict[str, Any]
    cookie: str | None


@dataclass(slots=True)
class Browser:
    """Is a client with a cookie jar that holds one cookie. Each request is a fresh connection."""

    port: int
    cookie: str | None = None
    cookie_name: str = COOKIE_NAME

    @property
    def identifier(self) -> str:
        """Read the part of the cookie before the route."""
        return (self.cookie or "").partition(".")[0]

    @property
    def route(self) -> str:
        """Read the part of the cookie after the first dot."""
        return (self.cookie or "").partition(".")[2]

    def get(self, path: str) -> Reply:
        """Get a JSON page."""
        return self._request("GET", path, None)

    def post(self, path: str, content: dict[str, Any] | None = None) -> Reply:
        """Post a JSON object."""
        return self._request("POST", path, json.dumps(content or {}))

    def at(self, port: int) -> "Browser":
        """Take the same cookie to another port, past the balancer."""
        return Browser(port, self.cookie, self.cookie_name)

    def _request(self, method: str, path: str, body: str | None) -> Reply:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.cookie is not None:
            headers["Cookie"] = f"{self.cookie_name}={self.cookie}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise StepFailed(
                f"{method} {path} on port {self.port} was not answered: {error!r}"
            ) from None
        finally:
            connection.close()
        given = SimpleCookie()
        for header in response.headers.get_all("Set-Cookie") or ():
            given.load(header)
        cookie = given[self.cookie_name].value if self.cookie_name in given else None
        if cookie is not None:
            self.cookie = cookie
        return Reply(response.status, _json_object(content), cookie)


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


@dataclass(slots=True)
class Scenario:
    """Walks once through the scenario. ``say`` receives each line of its story.

    Each method is a step, to be called in the order they stand here; each raises StepFailed.
    """

    nodes: Sequence[Node]
    balancer_port: int
    say: Say
    browser: Browser = field(init=False)
    others: list[Browser] = field(init=False)

    def __post_init__(self) -> None:
        self.browser = Browser(self.balancer_port)
        self.others = []

    def run(self) -> None:
        """Take all steps."""
        self.form_cluster()
        self.open_page()
        self.refresh()
        self.write()
        dead, survivor = self.kill_home()
        self.survive(survivor)
        self.read_loss(dead, survivor)
        self.bring_back(dead, survivor)

    def form_cluster(self) -> None:
        """Check that both nodes log the other as added."""
        for node in self.nodes:
            # The agent starts with the first request that needs it.
            answer = Browser(node.direct_port).get("/api/session")
            expect(answer.status, 200, f"{node.route} answers")
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    self.say(f"{node.route} logs: {node.wait_for_line(other.route, ADDED)[-1]}")

    def open_page(self) -> None:
        """Check that the first write makes a session, and the cookie ends in the node's route."""
        answer = self.browser.post("/api/set", {"key": "color", "value": "blue"})
        expect(answer.status, 200, "the first write is answered")
        node = answer.body.get("node")
        if self.browser.cookie is None:
            raise StepFailed("the first write set no cookie")
        expect(self.browser.route, node, "the cookie ends in the name of the node that answered")
        expect(self.browser.cookie.count("."), 1, "the cookie has exactly one dot")
        self.say(f"{node} answered; cookie {COOKIE_NAME}={short(self.browser.cookie)}")

    def refresh(self) -> None:
        """Check that every refresh comes to the same node."""
        home = self.browser.route
        for _ in range(REFRESHES):
            answer = self.browser.get("/api/session")
            expect(answer.status, 200, "a refresh is answered")
            expect(answer.body.get("node"), home, "a refresh stays on the node")
            expect(answer.cookie, None, "a refresh that changes nothing sets no cookie")
        self.say(f"{REFRESHES} refreshes, all answered by {home}")

    def write(self) -> None:
        """Write data of several kinds, one changed in place, and sessions of other visitors."""
        self.browser.post("/api/set", {"key": "visits", "value": 3})
        for thing in ("tea", "cake"):
            answer = self.browser.post("/api/append", {"key": "cart", "value": thing})
            expect(answer.status, 200, "a write is answered")
        for number in range(OTHER_SESSIONS):
            other = Browser(self.balancer_port)
            expect(other.post("/api/set", {"key": "visitor", "value": number}).status, 200,
                   "another visitor's write is answered")
            self.others.append(other)
        self.say(f"session data now {json.dumps(self._data(self.browser))}")

    def kill_home(self) -> tuple[Node, Node]:
        """End every process of the node that serves the session with kill -9."""
        dead = next(node for node in self.nodes if node.route == self.browser.route)
        survivor = next(node for node in self.nodes if node is not dead)
        pids = dead.kill()
        self.say(f"kill -9 {' '.join(map(str, pids))}: every process of {dead.route}")
        return dead, survivor

    def survive(self, survivor: Node) -> None:
        """Check that the very next request is answered by the other node, with all data."""
        identifier = self.browser.identifier
        answer = self.browser.get("/api/session")
        expect(answer.status, 200, "the request after kill -9 is answered")
        expect(answer.body.get("node"), survivor.route, "it is answered by the other node")
        expect(answer.body.get("data"), EXPECTED_DATA, "all session data is there")
        expect(self.browser.identifier, identifier, "the session id is the same")
        expect(self.browser.route, survivor.route, "the cookie now ends in the survivor's route")
        for number, other in enumerate(self.others):
            expect(self._data(other), {"visitor": number}, "other visitors' sessions are there")
        self.say(f"{survivor.route} answered the next request; cookie {COOKIE_NAME}="
                 f"{short(self.browser.cookie or '')}")
        self.say(f"session data {json.dumps(answer.body.get('data'))}")

    def read_loss(self, dead: Node, survivor: Node) -> None:
        """Check that the survivor logs the loss, once."""
        lines = survivor.wait_for_line(dead.route, LOST)
        self.say(f"{survivor.route} logs: {lines[-1]}")
        expect(len(lines), 1, f"{survivor.route} logs the loss of {dead.route} once: {lines}")

    def bring_back(self, dead: Node, survivor: Node) -> None:
        """Check that the killed node comes back, is logged once, and has every session."""
        before = len(survivor.lines_about(dead.route, ADDED))
        dead.start()
        own = self.browser.at(dead.direct_port).get("/api/session")
        expect(own.body.get("node"), dead.route, "the killed node answers again")
        expect(own.body.get("data"), EXPECTED_DATA, "it has the session")
        for number, other in enumerate(self.others):
            data = self._data(other.at(dead.direct_port))
            expect(data, {"visitor": number}, "it has every session")
        lines = survivor.wait_for_line(dead.route, ADDED, after=before)
        self.say(f"{survivor.route} logs: {lines[-1]}")
        expect(len(lines), before + 1, f"{survivor.route} logs the return once: {lines}")
        expect(len(survivor.lines_about(dead.route, LOST)), 1, "no second loss is logged")
        self.say(f"{dead.route} is back and has all {1 + len(self.others)} sessions")
        answer = self.browser.get("/api/session")
        expect(answer.body.get("node"), survivor.route, "the visitor stays where the cookie says")
        expect(answer.body.get("data"), EXPECTED_DATA, "the visitor still has all data")

    def _data(self, browser: Browser) -> Any:
        return browser.get("/api/session").body.get("data")


EXPECTED_DATA = {"color": "blue", "visits": 3, "cart": ["tea", "cake"]}


def expect(seen: object, wanted: object, what: str) -> None:
    """Raise StepFailed unless the two are equal."""
    if seen != wanted:
        raise StepFailed(f"{what}: wanted {wanted!r}, saw {seen!r}")


def short(cookie: str) -> str:
    """Leave out most of a cookie's id."""
    identifier, _, route = cookie.partition(".")
    return f"{identifier[:8]}….{route}"
