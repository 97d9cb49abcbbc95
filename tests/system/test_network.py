"""Nodes on hosts of their own: multicast over a real bridge, seeds without it, cables pulled."""

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import status
from clustersession.replica.home import NodeHome
from clustersession.tools.demo.processes import kill_node, node_pids, wait_for
from clustersession.worker.known_secrets import directory_name
from tests.support.apps import SUPPORT_DIRECTORY
from tests.support.namespaces import Host, network
from tests.system.client import data, get, held_write, new_session, post

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SECRET = secrets.token_urlsafe(32)


@dataclass
class HostNode:
    """One node in a namespace, its web server on a unix socket."""

    host: Host
    route: str
    directory: Path
    settings: dict[str, str]

    @property
    def web(self) -> Path:
        return self.directory / "web.sock"

    @property
    def home(self) -> NodeHome:
        return NodeHome(self.directory / "state" / directory_name("net", self.route, SECRET))

    def start(self) -> None:
        (self.directory / "state").mkdir(parents=True, exist_ok=True)
        self.web.unlink(missing_ok=True)
        environment = {
            **os.environ, **self.settings,
            "CLUSTERSESSION_DISTRIBUTABLE": "true", "CLUSTERSESSION_ROUTE": self.route,
            "CLUSTERSESSION_CLUSTER_NAME": "net",
            "CLUSTERSESSION_STATE_DIR": str(self.directory / "state"),
            "CLUSTERSESSION_SECRET": SECRET,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        }
        with (self.directory / "server.log").open("ab") as log:
            self.host.start(
                [
                    sys.executable, "-m", "uvicorn", "gated_app:app", "--uds", str(self.web),
                    "--log-level", "warning",
                ],
                env=environment, cwd=SUPPORT_DIRECTORY, stdout=log, stderr=log,
            )
        wait_for(self.answers, f"{self.route} to answer")

    def answers(self) -> bool:
        try:
            return get(self.web, "/api/whoami").status == 200
        except OSError:
            return False

    def status(self) -> dict:
        try:
            return status(self.home)
        except (AgentGone, ValueError, TimeoutError):
            return {"phase": "", "members": []}

    def settled(self, members: int) -> bool:
        seen = self.status()
        alive = sum(m["status"] == "alive" and m["phase"] == "ready" for m in seen["members"])
        return seen["phase"] == "ready" and alive == members

    def kill(self) -> None:
        kill_node(self.directory / "state")

    def log(self, text: str) -> list[str]:
        return [line for line in self.home.agent_log.read_text().splitlines() if text in line]


@contextmanager
def cluster(
    directory: Path, settings: Sequence[dict[str, str]], multicast: bool = True
) -> Iterator[list[HostNode]]:
    """Nodes node1, node2, ... on hosts of their own; a setting may name "{address1}"."""
    with network(len(settings)) as hosts:
        if not multicast:
            for host in hosts:
                host.block_multicast()
        addresses = {f"address{n}": host.address for n, host in enumerate(hosts, 1)}
        nodes = [
            HostNode(
                host, f"node{n}", directory / f"n{n}",
                {name: value.format(**addresses) for name, value in own.items()},
            )
            for n, (host, own) in enumerate(zip(hosts, settings, strict=True), 1)
        ]
        try:
            for node in nodes:
                node.start()
            for node in nodes:
                wait_for(lambda n=node: n.settled(len(nodes) - 1), f"{node.route} to be ready")
            yield nodes
        finally:
            for node in nodes:
                node.kill()
                assert not node_pids(node.directory / "state")


def failover(first: HostNode, second: HostNode) -> None:
    """The reference scenario without a balancer: the test goes where a balancer would."""
    cookie = new_session(first.web, user="ann", cart=["tea"])
    assert cookie.endswith(".node1")
    first.kill()
    reply = get(second.web, "/api/session", cookie)
    assert reply.data["data"] == {"user": "ann", "cart": ["tea"]}
    assert reply.cookie == cookie.replace(".node1", ".node2")
    wait_for(lambda: second.log("member lost: node1"), "the loss to be logged")
    assert len(second.log("member lost: node1")) == 1
    first.start()
    wait_for(lambda: first.settled(1) and second.settled(1), "node1 to be back")
    assert len(second.log("member added: node1")) == 2
    assert data(first.web, cookie) == {"user": "ann", "cart": ["tea"]}


# "auto" would do as well on a host with a default route; these hosts have none.
OVER_MULTICAST = {"CLUSTERSESSION_BIND": "{address%d}"}
OVER_SEEDS = {
    "CLUSTERSESSION_BIND": "{address%d}", "CLUSTERSESSION_SEEDS": "{address1}:4000",
    "CLUSTERSESSION_MULTICAST_ADDRESS": "",
}


def on(settings: dict[str, str], number: int, **more: str) -> dict[str, str]:
    filled = {name: value.replace("%d", str(number)) for name, value in settings.items()}
    return {**filled, **{f"CLUSTERSESSION_{name.upper()}": value for name, value in more.items()}}


@pytest.mark.parametrize("carrier", ["auto", "multicast", "tcp"])
def test_failover_between_two_hosts_over_multicast(tmp_path: Path, carrier: str) -> None:
    settings = [on(OVER_MULTICAST, n, carrier=carrier) for n in (1, 2)]
    with cluster(tmp_path, settings) as (first, second):
        assert "works" in first.status()["multicast"]
        expected = "multicast" if carrier == "multicast" else "tcp"
        wait_for(lambda: first.status()["carrier"] == expected, "the carrier")
        failover(first, second)


def test_failover_between_two_hosts_over_seeds(tmp_path: Path) -> None:
    with cluster(tmp_path, [on(OVER_SEEDS, 1), on(OVER_SEEDS, 2)]) as (first, second):
        failover(first, second)


def test_seeds_also_work_where_multicast_is_configured_and_blocked(tmp_path: Path) -> None:
    settings = [on(OVER_MULTICAST, n, seeds="{address1}:4000") for n in (1, 2)]
    with cluster(tmp_path, settings, multicast=False) as (first, second):
        assert [m["carrier"] for m in first.status()["members"]] == ["tcp"]
        failover(first, second)


def test_without_udp_between_hosts_writes_are_confirmed_by_the_agents(tmp_path: Path) -> None:
    settings = [on(OVER_SEEDS, n, ack_timeout_s="10") for n in (1, 2)]
    with cluster(tmp_path, settings) as (first, second):
        cookie = new_session(first.web, user="ann")

        def taken_after_writes() -> int:
            before = second.status()["direct"]["changes"]["taken"]
            for number in range(20):
                body = {"key": "n", "value": number}
                assert post(first.web, "/api/set", cookie, body).status == 200
            taken: int = second.status()["direct"]["changes"]["taken"]
            return taken - before

        wait_for(taken_after_writes, "writes to go directly")
        second.host.drop(arriving="ip protocol udp")
        try:
            assert taken_after_writes() == 0
            assert data(first.web, cookie) == data(second.web, cookie) == {"user": "ann", "n": 19}
            # What waits for nobody in vain is said nowhere.
            assert not first.log("unconfirmed")
        finally:
            second.host.drop_nothing()
        wait_for(taken_after_writes, "writes to go directly again")


def test_three_hosts_send_each_change_once_by_multicast(tmp_path: Path) -> None:
    settings = [on(OVER_MULTICAST, n) for n in (1, 2, 3, 4)]
    with cluster(tmp_path, settings) as nodes:
        wait_for(lambda: nodes[0].status()["carrier"] == "multicast", "the carrier")
        cookie = new_session(nodes[0].web, user="ann")
        for number in range(50):
            post(nodes[0].web, "/api/set", cookie, {"key": "n", "value": number})
        for node in nodes:
            wait_for(
                lambda n=node: data(n.web, cookie) == {"user": "ann", "n": 49}, "the last change"
            )


def test_logout_wins_over_slow_requests_and_a_partition(tmp_path: Path) -> None:
    settings = [on(OVER_MULTICAST, n, drop_time_s="1.5") for n in (1, 2)]
    with cluster(tmp_path, settings) as (first, second):
        before = new_session(first.web, user="eve")
        with held_write(second.web, before) as let_go:
            assert post(first.web, "/api/logout", before, {}).status == 200
            assert let_go().set_cookie is None
        cookie = new_session(first.web, user="ann")
        kept = new_session(first.web, user="bob")
        assert data(second.web, cookie) == {"user": "ann"}
        with held_write(second.web, cookie) as let_go:
            second.host.cut()
            wait_for(lambda: first.log("member lost: node2"), "the loss to be noticed")
            assert post(first.web, "/api/logout", cookie, {}).status == 200
            assert let_go().data["data"] == {"user": "ann", "late": 1}
        assert data(second.web, cookie) == {"user": "ann", "late": 1}, "it cannot know yet"
        assert post(first.web, "/api/set", kept, {"key": "left", "value": 1}).status == 200
        assert post(second.web, "/api/set", kept, {"key": "right", "value": 2}).status == 200
        second.host.mend()
        wait_for(lambda: first.settled(1) and second.settled(1), "the partition to heal", 30.0)
        wanted = {"user": "bob", "left": 1, "right": 2}
        for node in (first, second):
            wait_for(lambda n=node: data(n.web, kept) == wanted, "both writes", 20.0)
            wait_for(lambda n=node: data(n.web, cookie) == {}, "the end on both", 20.0)
        for node in (first, second):
            assert data(node.web, cookie) == data(node.web, before) == {}
