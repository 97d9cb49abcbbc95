"""Two nodes and a store as people run one: with Sentinels, as a Cluster, over TLS, with a user."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from clustersession.net.store.refusals import COMMANDS_NEEDED
from clustersession.store.keys import slot_of
from clustersession.tools.demo.nodes import Node
from clustersession.tools.demo.processes import free_port, wait_for
from tests.store.servers import SERVERS, Server, cluster, follows, required, running, watching_for
from tests.support.certificates import Authority
from tests.system.client import data, home, new_session, post
from tests.system.stored_nodes import (
    Clicks,
    carried,
    check_index,
    clicks_everywhere,
    environment,
    eventually_holds,
    is_reached,
    log_in,
    store_status,
    two_nodes,
)

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

LOOPBACK = ("--bind", "127.0.0.1")
FAILOVER_S = 40.0
PASSWORD, NEXT_PASSWORD = "s3cr3t", "n3w"


@pytest.fixture
def program(request: pytest.FixtureRequest) -> str:
    """The program of a server of a kind, in turn; tests/net/store has each with each."""
    return required(request.param)


redis_server = pytest.mark.parametrize("program", ["redis"], indirect=True)
valkey_server = pytest.mark.parametrize("program", ["valkey"], indirect=True)
each_server = pytest.mark.parametrize("program", SERVERS, indirect=True)


def lines(node: Node, words: str) -> list[str]:
    return [line for line in node.log_lines() if words in line]


def reach(nodes: tuple[Node, Node], where: str = "", times: int = 1) -> None:
    """Wait until both have their store, on a server whose address contains ``where``."""
    for node in nodes:
        wait_for(
            lambda n=node: is_reached(n) and where in str(store_status(n)["servers"])
            and int(str(store_status(n)["reached"])) >= times,
            f"{node.route} to reach the store {where}", FAILOVER_S,
        )


def share(first: Node, second: Node) -> None:
    """What one does the other knows: a login, a change, a logout."""
    cookie = post(first, "/api/login", None, {"user": "ann"}).cookie
    assert cookie is not None
    eventually_holds(second, cookie, {"user": "ann"})
    assert post(second, "/api/set", cookie, {"key": "n", "value": 1}).status == 200
    eventually_holds(first, cookie, {"user": "ann", "n": 1})
    assert post(first, "/api/logout", cookie, {}).status == 200
    wait_for(lambda: data(second, cookie) == {}, "the logout to get there")


# ---- Sentinels -----------------------------------------------------------------------------------


@contextmanager
def watched(program: str, directory: Path) -> Iterator[tuple[Server, Server, str]]:
    """A primary, its replica, and the URL of the Sentinel that watches them."""
    ports = [free_port() for _ in range(3)]
    fast = (*LOOPBACK, "--repl-diskless-sync-delay", "0")
    with (
        running(program, directory / "1", *fast, port=ports[0]) as primary,
        running(program, directory / "2", *fast, "--replicaof", "127.0.0.1", str(ports[0]),
                port=ports[1]) as replica,
    ):
        wait_for(lambda: follows(replica), "the replica to follow")
        with running(program, directory / "3", *LOOPBACK, port=ports[2],
                     sentinel=watching_for(ports[0])) as sentinel:
            wait_for(lambda: sentinel.admin.execute_command("SENTINEL", "REPLICAS", "mymaster"),
                     "the Sentinel to know the replica", 20.0)
            yield primary, replica, f"valkey+sentinel://127.0.0.1:{ports[2]}/mymaster"


@redis_server
def test_a_primary_and_a_host_die_at_once_and_what_was_acknowledged_is_on_the_replica(
    program: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        watched(program, tmp_path_factory.mktemp("w")) as (primary, replica, url),
        two_nodes(tmp_path, url, store_replicas=1) as nodes,
    ):
        first, second = nodes
        reach(nodes, f":{primary.port}")
        kept = [new_session(first, user=f"user {number}") for number in range(20)]
        with clicks_everywhere([second]) as (user,):
            primary.kill()
            first.kill()
            shutil.rmtree(home(first).directory)
            user.go_on()
            reach((second, second), f":{replica.port}")
            user.go_on()
        for number, cookie in enumerate(kept):
            assert data(second, cookie) == {"user": f"user {number}"}
        first.start()
        reach(nodes, f":{replica.port}")
        share(first, second)
        # The primary of before comes back, and is a replica from now on: nobody goes to it.
        primary.start()
        wait_for(lambda: follows(primary), "the former primary to follow", FAILOVER_S)
        share(second, first)
        reach(nodes, f":{replica.port}")
        assert not lines(second, "replicas of the store hold a write")[3:], "told seldom"


@redis_server
def test_workers_go_on_by_themselves_at_the_server_that_was_promoted(
    program: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        watched(program, tmp_path_factory.mktemp("w")) as (primary, replica, url),
        two_nodes(tmp_path, url) as nodes,
    ):
        reach(nodes, f":{primary.port}")
        kept = log_in(nodes[0], "ann")
        with clicks_everywhere([*nodes]) as users, Clicks(nodes[0], log_in(nodes[0], "bob")):
            wait_for(lambda: all(carried(node) > 10 for node in nodes), "direct writes")
            primary.kill()
            for user in users:
                user.go_on()
            reach(nodes, f":{replica.port}")
            before = [carried(node) for node in nodes]
            wait_for(lambda: all(carried(node) > 10 + number for node, number in zip(
                nodes, before, strict=True)), "direct writes to the other server", FAILOVER_S)
        for node in nodes:
            eventually_holds(node, kept, {"user": "ann"})
        check_index(replica)


# ---- a Cluster -----------------------------------------------------------------------------------


def cluster_url(servers: list[Server]) -> str:
    return "valkey+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)


@valkey_server
def test_a_primary_of_a_cluster_dies_and_its_replica_is_promoted(
    program: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        cluster(program, tmp_path_factory.mktemp("c"), 3, replicas=1) as servers,
        two_nodes(tmp_path, cluster_url(servers[:3])) as nodes,
    ):
        first, second = nodes
        kept = [new_session(first, user=f"user {number}") for number in range(20)]
        with clicks_everywhere([*nodes]) as users:
            servers[0].kill()
            meanwhile = [new_session(first, user=f"guest {number}") for number in range(20)]
            for user in users:
                user.go_on()
            reach(nodes, f":{servers[3].port}", times=2)
            for user in users:
                user.go_on()
        for cookies, who in ((kept, "user"), (meanwhile, "guest")):
            for number, cookie in enumerate(cookies):
                eventually_holds(second, cookie, {"user": f"{who} {number}"})
        for _ in range(5):
            share(first, second)


@redis_server
def test_slots_of_a_cluster_move_while_they_are_used(
    program: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        cluster(program, tmp_path_factory.mktemp("c"), 3) as servers,
        two_nodes(tmp_path, cluster_url(servers)) as nodes,
    ):
        first, second = nodes
        kept = [new_session(first, user=f"user {number}") for number in range(10)]
        with clicks_everywhere([*nodes]) as users:
            source, target = servers[0], servers[1]
            slots = {slot_of(name) for name in source.admin.scan_iter("clustersession:*:s:*")}
            assert slots
            for slot in slots:
                move(slot, source, target, servers)
                users[0].go_on()
            for user in users:
                user.go_on()
        assert not list(source.admin.scan_iter("clustersession:*:s:*"))
        for number, cookie in enumerate(kept):
            assert data(second, cookie) == {"user": f"user {number}"}
        for node in nodes:
            assert not lines(node, "until it is back"), "it was there all the time"


def move(slot: int, source: Server, target: Server, servers: list[Server]) -> None:
    """Move a slot as the manuals say."""
    ids: dict[Server, Any] = {s: s.admin.execute_command("CLUSTER", "MYID") for s in servers}
    target.admin.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source].decode())
    source.admin.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target].decode())
    while names := source.admin.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
        source.admin.execute_command(
            "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names
        )
    for server in (target, source, *servers):
        server.admin.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target].decode())


# ---- TLS, users and passwords --------------------------------------------------------------------


def test_tls_with_certificates_on_both_sides(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    server, ours = authority.files("server", "127.0.0.1"), authority.files("node")
    port = free_port()
    # The Valkey for tests speaks no TLS.
    options = (*LOOPBACK, "--tls-port", str(port), "--tls-cert-file", server["tls_certificate"],
               "--tls-key-file", server["tls_key"], "--tls-ca-cert-file", server["tls_ca"],
               "--tls-auth-clients", "yes")
    shown = f"certificate={ours['tls_certificate']}&key={ours['tls_key']}"
    good = f"valkeys://127.0.0.1:{port}?ca={authority.ca_path}&{shown}"
    bad = f"rediss://127.0.0.1:{port}?ca={stranger.ca_path}&{shown}"
    mended = f"rediss://127.0.0.1:{port}?ca={authority.ca_path}&{shown}"
    with running(required("redis"), tmp_path_factory.mktemp("t"), *options):
        with two_nodes(tmp_path, good) as nodes:
            first, second = nodes
            share(first, second)
            cookie = new_session(first, user="ann")
            second.stop()
            second.program.environment |= environment({"store": bad})
            before = len(second.log_lines())
            second.start()
            # One error, however often it is tried, and users are served.
            assert post(second, "/api/login", None, {"user": "bob"}).status == 200
            wait_for(lambda: store_status(second).get("state") == "away", "the store to be refused")
            wait_for(lambda: lines(second, "ready: "), "the node to be ready")
            [line] = [each for each in second.log_lines()[before:] if "until it is back" in each]
            assert "shows a certificate that is not trusted" in line
            second.stop()
            second.program.environment |= environment({"store": mended})
            second.start()
            reach(nodes)
            assert data(second, cookie) == {"user": "ann"}


@each_server
def test_a_user_with_exactly_the_rule_that_the_log_tells(
    program: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also when the rule is mended under way."""
    with running(program, tmp_path_factory.mktemp("a")) as server:
        server.admin.execute_command("ACL", "SETUSER", "shop", "on", f">{PASSWORD}", "+hello")
        url = f"unix://shop:{PASSWORD}@{server.socket}"
        with two_nodes(tmp_path, url, meet=False) as nodes:
            first, second = nodes
            cookie = new_session(first, user="ann")
            [line, *_] = wait_for(lambda: lines(first, "forbids what is needed"), "the rule")
            rule = re.search(r"allow it by ACL SETUSER (shop .*); until it is back", line)
            assert rule is not None
            assert rule[1].endswith(COMMANDS_NEEDED)
            server.admin.execute_command("ACL", "SETUSER", *rule[1].split())
            reach(nodes)
            eventually_holds(second, cookie, {"user": "ann"})
            share(first, second)


@valkey_server
def test_a_password_is_changed_under_way(
    program: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """First as it should be done, then without a word to the nodes."""
    file = tmp_path / "password"
    with running(program, tmp_path_factory.mktemp("p")) as server:
        def change(old: str, new: str, tell: bool) -> None:
            server.admin.acl_setuser("default", enabled=True, passwords=[f"+{new}"])
            if tell:
                file.write_text(new)
            server.admin.close()
            server.admin = redis.Redis(unix_socket_path=str(server.socket), password=new)
            server.admin.acl_setuser("default", enabled=True, passwords=[f"-{old}"])
            server.admin.execute_command("CLIENT", "KILL", "TYPE", "normal")

        server.admin.acl_setuser("default", enabled=True, passwords=[f"+{PASSWORD}"])
        server.admin.close()
        server.admin = redis.Redis(unix_socket_path=str(server.socket), password=PASSWORD)
        file.write_text(PASSWORD)
        with two_nodes(tmp_path, f"unix://{server.socket}?password_file={file}") as nodes:
            first, second = nodes
            with clicks_everywhere([*nodes]) as users:
                change(PASSWORD, NEXT_PASSWORD, True)
                reach(nodes, times=2)
                assert not lines(first, "refuses user and password")
                change(NEXT_PASSWORD, PASSWORD, False)
                for node, user in zip(nodes, users, strict=True):
                    wait_for(lambda n=node: lines(n, "refuses user and password"), "the refusal")
                    user.go_on()
                meanwhile = new_session(first, user="ann")
                file.write_text(PASSWORD)
                reach(nodes, times=3)
            eventually_holds(second, meanwhile, {"user": "ann"})
            assert not [line for n in nodes for line in n.log_lines() if PASSWORD in line]
