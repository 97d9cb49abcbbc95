"""Browsers under constant load behind a tiny sticky failover; a process driven by JSON lines.

    python -m tests.faults.client

Each line on standard input is a command, each line on standard output its answer:
``start`` begins the load, ``stop`` ends it and answers with the history, ``read`` asks nodes for
sessions, ``call`` makes one request, ``hold`` lets a worker hold its interpreter.
"""

import http.client
import json
import random
import sys
import threading
import time
from typing import Any

from tests.faults.history import GHOST, Operation, Outcome

COOKIE_NAME = "CLUSTERSESSION"
CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 3.0
DOWN_S = 1.0
GONE = 410
ENDS_THE_ID = ("create", "login", "logout")

Nodes = dict[str, tuple[str, int]]


class NotSent(Exception):
    """There was no connection, so nothing was sent."""


def call(
    address: tuple[str, int], path: str, cookie: str, body: dict[str, Any]
) -> tuple[int, dict[str, Any], str]:
    """One request on a connection of its own: status, content and the new cookie, if any."""
    connection = http.client.HTTPConnection(*address, timeout=CONNECT_TIMEOUT_S)
    try:
        try:
            connection.connect()
        except OSError as error:
            raise NotSent(str(error)) from None
        connection.sock.settimeout(ANSWER_TIMEOUT_S)
        headers = {"Connection": "close", "Content-Type": "application/json"}
        if cookie:
            headers["Cookie"] = f"{COOKIE_NAME}={cookie}"
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        set_cookie = response.getheader("Set-Cookie") or ""
        given = set_cookie.removeprefix(f"{COOKIE_NAME}=").partition(";")[0].strip('"')
        return response.status, json.loads(content) if content[:1] == b"{" else {}, given
    finally:
        connection.close()


class Balancer:
    """Sends a cookie to the node its route names, or to the next while that one is down."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self._routes = sorted(nodes)
        self._down_until_s = dict.fromkeys(nodes, 0.0)

    def choose(self, cookie: str) -> str:
        """The node for a request."""
        now_s = time.monotonic()
        route = cookie.rpartition(".")[2]
        first = self._routes.index(route) if route in self.nodes else random.randrange(100)
        ring = [self._routes[(first + n) % len(self._routes)] for n in range(len(self._routes))]
        up = [name for name in ring if self._down_until_s[name] <= now_s]
        return (up or ring)[0]

    def failed(self, node: str) -> None:
        """Leave a node alone for a while."""
        self._down_until_s[node] = time.monotonic() + DOWN_S


class Browser(threading.Thread):
    """One user after another: each session is created, written to, and mostly logged out."""

    def __init__(
        self, number: int, balancer: Balancer, stop: threading.Event, padding_bytes: int,
        pause_s: float,
    ) -> None:
        super().__init__(daemon=True)
        self.history: list[Operation] = []
        self._name = f"b{number}"
        self._balancer = balancer
        self._stop_wanted = stop
        self._padding = "x" * padding_bytes
        self._pause_s = pause_s
        self._sessions = 0
        self._cookie = ""
        self._owner = ""

    def run(self) -> None:
        """Live until told to stop."""
        while not self._stop_wanted.is_set():
            self._sessions += 1
            self._owner, self._cookie = f"{self._name}.{self._sessions}", ""
            if self._do("create", self._owner):
                self._live()

    def _live(self) -> None:
        for number in range(random.randint(5, 15)):
            kind = random.choices(("add", "count", "login"), (6, 3, 1))[0]
            value = f"{self._owner}.{number}" if kind != "count" else ""
            if self._stop_wanted.is_set() or not self._do(kind, value):
                return
        if random.random() < 0.5:
            self._do("logout", "")

    def _do(self, kind: str, value: str) -> bool:
        """One operation, on the next node when there is no connection; whether to go on."""
        for _ in self._balancer.nodes:
            self._stop_wanted.wait(random.expovariate(1 / self._pause_s))
            operation = self._try(kind, value)
            if operation.outcome is not Outcome.REFUSED:
                break
        if operation.outcome is Outcome.ACKNOWLEDGED and kind in ("login", "logout"):
            self._haunt(operation.sent_id)
        match operation.outcome:
            case Outcome.ACKNOWLEDGED:
                return True
            case Outcome.MISSING | Outcome.UNSTORED:
                return False
            case _:
                # Whether the id still counts is not known; the judge looks at it, nobody uses it.
                return kind not in ENDS_THE_ID

    def _haunt(self, ended_id: str) -> None:
        """Write once more under an id that was just ended, to whatever node."""
        node = random.choice(list(self._balancer.nodes))
        ghost = Operation(self._owner, GHOST, "", node, ended_id, time.time())
        try:
            ghost.status, _, _ = call(
                self._balancer.nodes[node], "/add", f"{ended_id}.{node}", {"value": "of a ghost"}
            )
        except (NotSent, OSError, http.client.HTTPException, ValueError):
            pass
        else:
            ghost.outcome = Outcome.ERROR if ghost.status >= 500 else Outcome.ACKNOWLEDGED
        self.history.append(ghost)

    def _try(self, kind: str, value: str) -> Operation:
        node = self._balancer.choose(self._cookie)
        sent_id = self._cookie.partition(".")[0]
        operation = Operation(self._owner, kind, value, node, sent_id, time.time())
        body = {"value": value, "padding": self._padding}
        try:
            status, content, given = call(
                self._balancer.nodes[node], f"/{kind}", self._cookie, body
            )
        except NotSent:
            operation.outcome = Outcome.REFUSED
            self._balancer.failed(node)
        except (OSError, http.client.HTTPException, ValueError):
            self._balancer.failed(node)
        else:
            self._answered(operation, status, content, given)
        operation.took_s = time.time() - operation.began_s
        self.history.append(operation)
        return operation

    def _answered(
        self, operation: Operation, status: int, content: dict[str, Any], given: str
    ) -> None:
        operation.status = status
        new_id = given.partition(".")[0]
        if status == GONE:
            operation.outcome = Outcome.MISSING
        elif status != 200:
            operation.outcome = Outcome.ERROR
        elif operation.kind in ("create", "login") and new_id in ("", operation.sent_id):
            operation.outcome = Outcome.UNSTORED
        else:
            operation.outcome = Outcome.ACKNOWLEDGED
            operation.data = content["data"]
            operation.new_id = new_id
            if given:
                self._cookie = given


class Load:
    """All browsers together."""

    def __init__(self, command: dict[str, Any]) -> None:
        nodes = {name: (host, port) for name, (host, port) in command["nodes"].items()}
        self._stop_wanted = threading.Event()
        balancer = Balancer(nodes)
        self._browsers = [
            Browser(
                number, balancer, self._stop_wanted, command["padding_bytes"], command["pause_s"]
            )
            for number in range(command["browsers"])
        ]
        for browser in self._browsers:
            browser.start()

    def stop(self) -> list[dict[str, Any]]:
        """End it; the history in the order of its beginnings."""
        self._stop_wanted.set()
        for browser in self._browsers:
            browser.join(30.0)
        operations = [o for browser in self._browsers for o in browser.history]
        return [o.to_json() for o in sorted(operations, key=lambda o: o.began_s)]


def read(address: tuple[str, int], identifiers: list[str]) -> list[dict[str, Any] | None]:
    """What a node says of some ids. Raises OSError when it does not answer."""
    found: list[dict[str, Any] | None] = []
    for identifier in identifiers:
        status, content, _ = call(address, "/read", f"{identifier}.nowhere", {})
        if status not in (200, GONE):
            raise OSError(f"{address[0]} answered {status}")
        found.append(content["data"] if status == 200 else None)
    return found


def hold(address: tuple[str, int], seconds: float) -> None:
    """Let the worker that takes this hold its interpreter; do not wait for it."""
    def wait() -> None:
        try:
            call(address, "/hold", "", {"seconds": seconds})
        except (NotSent, OSError):
            pass

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Obey commands until standard input ends."""
    load: Load | None = None
    for line in sys.stdin:
        command = json.loads(line)
        answer: Any = None
        try:
            match command["do"]:
                case "start":
                    load = Load(command)
                case "stop":
                    answer, load = load.stop() if load is not None else [], None
                case "read":
                    answer = read(tuple(command["address"]), command["identifiers"])
                case "call":
                    answer = call(
                        tuple(command["address"]), command["path"], command["cookie"],
                        command["body"],
                    )
                case "hold":
                    hold(tuple(command["address"]), command["seconds"])
        except (NotSent, OSError, http.client.HTTPException) as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
