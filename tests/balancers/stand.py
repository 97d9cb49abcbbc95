"""A cluster of three nodes behind one real balancer, for the scenarios of the table."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clustersession.tools.demo.nodes import ClusterPorts, Node
from clustersession.tools.demo.scenario import Browser, expect
from tests.balancers.conftest import MakeNode
from tests.support.apps import READY_PATH
from tests.support.balancers import Balancer, MakeBalancer
from tests.support.processes import wait_for
from tests.support.starting import start_together
from tests.system.client import settled

ROUTES = ("tomcat1", "tomcat2", "tomcat3")
SETTLE_S = 30.0


@dataclass(slots=True)
class Stand:
    """The nodes and the balancer. Each scenario begins with ``settle``."""

    nodes: Sequence[Node]
    balancer: Balancer

    def settle(self) -> None:
        """Bring back what a scenario has killed, stopped or drained; wait for the balancer."""
        for node in self.nodes:
            self.wake(node)
            if self.is_draining(node):
                node.kill()
            if not node.pids():
                node.start()
        for node in self.nodes:
            # The first check of its readiness makes a WSGI node join.
            wait_for(lambda n=node: self.is_ready(n), f"{node.route} to be ready", SETTLE_S)
        others = len(self.nodes) - 1
        for node in self.nodes:
            wait_for(lambda n=node: settled(n, others), f"{node.route} to see all", SETTLE_S)
        wanted, seen = set(ROUTES), set()

        def all_served() -> bool:
            seen.add(self._served_by(""))
            # nginx remembers for each of its upstreams by itself that a node has failed.
            return seen >= wanted and all(self._served_by(f"0.{r}") == r for r in ROUTES)

        wait_for(all_served, "the balancer to send users to every node", SETTLE_S)

    def _served_by(self, cookie: str) -> Any:
        return Browser(self.balancer.port, cookie).get("/api/session").body.get("node")

    def is_ready(self, node: Node) -> bool:
        """What its path of health checks says."""
        return Browser(node.direct_port).get(READY_PATH).status == 200

    def is_draining(self, node: Node) -> bool:
        """Whether it was drained and runs on."""
        return bool(node.pids()) and Browser(node.direct_port).get(READY_PATH).status == 503

    def node(self, route: str) -> Node:
        """The node of a route."""
        return next(node for node in self.nodes if node.route == route)

    def others(self, node: Node) -> list[Node]:
        """All but one."""
        return [other for other in self.nodes if other is not node]

    def user(self, **values: Any) -> Browser:
        """Somebody new whose session holds the values."""
        browser = Browser(self.balancer.port)
        for key, value in values.items():
            answer = browser.post("/api/set", {"key": key, "value": value})
            expect(answer.status, 200, "a write is answered")
        return browser

    def users_of(self, node: Node, count: int) -> list[Browser]:
        """New users whose cookie names the node."""
        found: list[Browser] = []

        def enough() -> bool:
            browser = self.user(number=len(found))
            if browser.route == node.route:
                found.append(browser)
            return len(found) == count

        wait_for(enough, f"{count} users of {node.route}", SETTLE_S)
        return found

    def pause(self, node: Node) -> None:
        """SIGSTOP every process of the node: it accepts connections and answers nothing."""
        for pid in node.pids():
            os.kill(pid, signal.SIGSTOP)

    def wake(self, node: Node) -> None:
        """The end of ``pause``."""
        for pid in node.pids():
            os.kill(pid, signal.SIGCONT)


@contextmanager
def stand(make_balancer: MakeBalancer, make_node: MakeNode, directory: Path) -> Iterator[Stand]:
    """Three nodes and their balancer, ended whatever happens."""
    ports = ClusterPorts()
    with ExitStack() as cleanup:
        nodes = [make_node(route, directory, ports) for route in ROUTES]
        start_together(nodes, cleanup)
        yield Stand(nodes, cleanup.enter_context(make_balancer(nodes, directory)))
