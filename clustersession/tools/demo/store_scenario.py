"""Takes the steps of the scenario with a store: it dies, comes back empty, forgets; a host dies."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from clustersession.tools.demo.clicks import Clicks
from clustersession.tools.demo.nodes import Node
from clustersession.tools.demo.processes import StepFailed, accepts_connections, wait_for
from clustersession.tools.demo.scenario import ADDED, LOST, Browser, Say, Scenario, expect, short
from clustersession.tools.demo.store import DemoStore

VISITORS = 6
CLICKS_EACH = 50
BACK_TIMEOUT_S = 20.0
REACHED = re.compile(r"\bthe store is reached\b")
AWAY = re.compile(r"\bthe store at\b.*\bserves the sessions that it holds\b")
STORE = re.compile(r"\bthe store\b")


class StoreScenario:
    """Walks once through the scenario, by methods called in the order they stand here.

    Each raises StepFailed. visitors: everybody who has a session; the first is the one of whom the
    story tells. clicks: those who click at present, one for each node.
    """

    def __init__(
        self, nodes: Sequence[Node], balancer_port: int, store: DemoStore, cluster_name: str,
        say: Say,
    ) -> None:
        self._nodes = nodes
        self._balancer_port = balancer_port
        self._store = store
        self._cluster_name = cluster_name
        self._say = say
        self._cluster = Scenario(nodes, balancer_port, say)
        self.visitors: list[Browser] = []
        self.clicks: list[Clicks] = []

    def meet(self) -> None:
        """Check that the nodes reach the store, and find each other there."""
        self._cluster.form_cluster()
        for node in self._nodes:
            self._say(f"{node.route} logs: {self._line(node, REACHED, 0)}")

    def log_in(self) -> None:
        """Check that a login on one host is known on the other, and that the store holds it."""
        visitor = self._visitor("ann")
        other = self._other(visitor.route)
        reply = visitor.at(other.direct_port).get("/api/session")
        expect(reply.body.get("node"), other.route, "the other host answers")
        expect(reply.body.get("data"), {"user": "ann"}, "the other host knows the login")
        self._say(f"ann logs in on {visitor.route}; cookie {short(visitor.cookie or '')}")
        self._say(f"the same cookie on {other.route}: {json.dumps(reply.body['data'])}")
        for number in range(1, VISITORS):
            self._visitor(f"visitor {number}")
        self._expect_in_store("so it holds")

    @contextmanager
    def clicking(self) -> Iterator[None]:
        """Have a user of each node click meanwhile; check at the end that no click has failed."""
        by_route = {visitor.route: visitor for visitor in reversed(self.visitors)}
        expect(sorted(by_route), sorted(n.route for n in self._nodes), "each host has users")
        with ExitStack() as stack:
            self.clicks = [stack.enter_context(Clicks(user)) for user in by_route.values()]
            self._go_on()
            yield
            self._go_on()
        for user in self.clicks:
            expect(user.failed, [], f"no click of the user of {user.browser.route} failed")

    def kill_store(self) -> None:
        """Check that with the store killed clicks go on, and logins too."""
        told = {node.route: len(self._lines(node, AWAY)) for node in self._nodes}
        self._say(f"kill -9 {self._store.kill()}: the store")
        for node in self._nodes:
            self._say(f"{node.route} logs: {self._line(node, AWAY, told[node.route])}")
        self._go_on()
        late = self._visitor("bob")
        expect(accepts_connections(self._store.port), False, "the store is still away")
        self._tell_clicks("while it is away")
        self._say(f"bob logs in on {late.route} meanwhile")

    def start_store(self) -> None:
        """Check that the store begins with nothing and is told everything."""
        told = {node.route: len(self._lines(node, REACHED)) for node in self._nodes}
        self._store.start()
        expect(self._store.keys_at_start(), 0, "keys that the store has when it is started")
        self._say(f"started again, process {self._store.program.pid}: it begins with 0 keys")
        for node in self._nodes:
            self._say(f"{node.route} logs: {self._line(node, REACHED, told[node.route])}")
        self._expect_in_store("and soon it holds")
        self._expect_everywhere()

    def empty_store(self) -> None:
        """Check that a store that is emptied is told everything again."""
        expect(self._store.empty(), 0, "keys that FLUSHALL leaves")
        self._say("FLUSHALL: it holds 0 keys at that moment")
        self._expect_in_store("and soon it holds")
        self._expect_everywhere()
        self._go_on()
        self._tell_clicks("since the first kill")

    def kill_host(self) -> tuple[Node, Node]:
        """Kill the host of the first visitor; check that the next requests go on elsewhere."""
        self._cluster.browser = self.visitors[0]
        dead, survivor = self._cluster.kill_home()
        moved = [visitor for visitor in self.visitors if visitor.route == dead.route]
        for visitor in moved:
            self._expect_served(visitor, survivor)
        self._say(f"the next click of each of its {len(moved)} users: {survivor.route} answers, "
                  "all are logged in")
        lines = survivor.wait_for_line(dead.route, LOST)
        expect(len(lines), 1, f"{survivor.route} logs the loss of {dead.route} once: {lines}")
        self._say(f"{survivor.route} logs: {lines[-1]}")
        before = self.visitors[0].cookie or ""
        for visitor in moved:
            identifier = visitor.identifier
            self._expect_served(visitor, survivor)
            expect(visitor.identifier, identifier, "the session id is the same")
            expect(visitor.route, survivor.route, "the cookie now ends in the survivor's route")
        self._say(f"and the click after that moves them: ann's {short(before)} becomes "
                  f"{short(self.visitors[0].cookie or '')}")
        return dead, survivor

    def bring_back(self, dead: Node, survivor: Node) -> None:
        """Check that the host comes back without anything of its own and serves every session."""
        before = len(survivor.lines_about(dead.route, ADDED))
        shutil.rmtree(dead.state_dir)
        dead.start()
        for visitor in self.visitors:
            self._expect_served(visitor.at(dead.direct_port), dead)
        self._say(f"{dead.route} is back, without its replica, and serves all "
                  f"{len(self.visitors)} sessions: it asks the store")
        lines = survivor.wait_for_line(dead.route, ADDED, after=before)
        self._say(f"{survivor.route} logs: {lines[-1]}")

    # ---- what the steps share --------------------------------------------------------------------

    def _visitor(self, name: str) -> Browser:
        visitor = Browser(self._balancer_port)
        reply = visitor.post("/api/login", {"user": name})
        expect(reply.status, 200, f"{name}'s login is answered")
        expect(visitor.route, reply.body.get("node"), "the cookie ends in the route")
        self.visitors.append(visitor)
        return visitor

    def _other(self, route: str) -> Node:
        return next(node for node in self._nodes if node.route != route)

    def _go_on(self) -> None:
        for user in self.clicks:
            user.go_on(CLICKS_EACH)

    def _tell_clicks(self, when: str) -> None:
        reads, writes = (sum(getattr(c, what) for c in self.clicks) for what in ("reads", "writes"))
        failed = sum(len(user.failed) for user in self.clicks)
        slowest_ms = 1000 * max(user.slowest_s for user in self.clicks)
        self._say(f"clicks {when}: {reads} reads and {writes} writes, {failed} failed, the slowest "
                  f"took {slowest_ms:.0f} ms")

    def _expect_in_store(self, words: str) -> None:
        wanted = len(self.visitors)
        wait_for(
            lambda: self._store.sessions(self._cluster_name) == wanted,
            f"the store to hold {wanted} sessions", BACK_TIMEOUT_S,
        )
        self._say(f"asked, the store counts its keys, {words} {wanted} sessions")

    def _expect_everywhere(self) -> None:
        """Expect that each host knows the users of the other."""
        for visitor in self.visitors:
            other = self._other(visitor.route)
            data = visitor.at(other.direct_port).get("/api/session").body.get("data")
            if not isinstance(data, dict) or "user" not in data:
                raise StepFailed(f"{other.route} does not know a user of {visitor.route}: {data}")

    def _expect_served(self, visitor: Browser, node: Node) -> None:
        reply = visitor.get("/api/session")
        expect(reply.status, 200, "a request after kill -9 is answered")
        expect(reply.body.get("node"), node.route, "it is answered by the other host")
        expect("user" in (reply.body.get("data") or {}), True, "the user is still logged in")

    def _lines(self, node: Node, event: re.Pattern[str]) -> list[str]:
        return [line for line in node.log_lines() if event.search(line)]

    def _line(self, node: Node, event: re.Pattern[str], after: int) -> str:
        return wait_for(
            lambda: self._lines(node, event)[after:], f"{node.route} to log {event.pattern}"
        )[-1]
