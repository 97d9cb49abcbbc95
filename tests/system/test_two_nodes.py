"""Two nodes: acknowledged writes survive kill -9, logout wins, strangers get nowhere."""

import os
import secrets
import socket
import ssl

import pytest

from clustersession.net.tls import tls_contexts
from clustersession.tools.demo.processes import wait_for
from clustersession.wire.envelope import Sealer
from clustersession.wire.keys import ClusterKeys
from tests.support.apps import fastapi_under_uvicorn, gated_under_uvicorn
from tests.system.client import (
    agent_status,
    data,
    get,
    held_write,
    home,
    new_session,
    post,
    settled,
)
from tests.system.conftest import StartNodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

KILLS = int(os.environ.get("TEST_KILLS", "5"))


def test_an_acknowledged_write_survives_kill_9_at_once(start_nodes: StartNodes) -> None:
    nodes = start_nodes(fastapi_under_uvicorn, "tomcat1", "tomcat2")
    for number in range(KILLS):
        victim, survivor = nodes[number % 2], nodes[1 - number % 2]
        cookie = new_session(victim, user=f"user {number}")
        assert post(victim, "/api/set", cookie, {"key": "n", "value": number}).status == 200
        victim.kill()
        reply = get(survivor, "/api/session", cookie)
        assert reply.data["data"] == {"user": f"user {number}", "n": number}
        assert reply.cookie == f"{cookie.partition('.')[0]}.{survivor.route}"
        victim.start()
        for node in nodes:
            wait_for(lambda n=node: settled(n, 1), f"{node.route} to be ready")
        assert data(victim, cookie) == {"user": f"user {number}", "n": number}


def test_logout_wins_over_a_slow_request_on_the_other_node(start_nodes: StartNodes) -> None:
    first, second = start_nodes(gated_under_uvicorn, "tomcat1", "tomcat2")
    cookie = new_session(first, user="ann")
    with held_write(second, cookie) as let_go:
        assert post(first, "/api/logout", cookie, {}).status == 200
        reply = let_go()
    assert reply.status == 200
    assert reply.set_cookie is None
    for node in (first, second):
        assert data(node, cookie) == {}


def test_an_id_from_nowhere_is_not_adopted_and_a_rotated_one_is_dead(
    start_nodes: StartNodes,
) -> None:
    first, second = start_nodes(fastapi_under_uvicorn, "tomcat1", "tomcat2")
    forged = f"1{'A' * 38}.tomcat1"
    reply = post(first, "/api/set", forged, {"key": "n", "value": 1})
    assert reply.base_id != forged.partition(".")[0]
    cookie = reply.cookie
    rotated = post(first, "/api/login", cookie, {"user": "ann"})
    assert rotated.base_id != reply.base_id
    for node in (first, second):
        assert data(node, rotated.cookie) == {"n": 1, "user": "ann"}
        assert data(node, cookie) == {}


def test_a_stranger_gets_nothing_and_is_logged_once_a_kind(start_nodes: StartNodes) -> None:
    first, _ = start_nodes(fastapi_under_uvicorn, "tomcat1", "tomcat2")
    new_session(first, user="ann")
    before = agent_status(first)
    environment = first.program.environment
    group = ("228.0.0.4", int(environment["CLUSTERSESSION_MULTICAST_PORT"]))
    cluster_name = environment["CLUSTERSESSION_CLUSTER_NAME"]
    host, _, port = before["address"].rpartition(":")
    strangers = ClusterKeys.derive(["another secret of sixteen"], cluster_name)
    sealer = Sealer(strangers, cluster_name, secrets.token_bytes(8), 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
        )
        for number in range(200):
            sock.sendto(secrets.token_bytes(number), group)
            sock.sendto(sealer.seal(b"let me in"), group)
    for _ in range(20):
        with socket.create_connection((host, int(port))) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with socket.create_connection((host, int(port))) as raw:
            try:
                with tls_contexts(strangers).client.wrap_socket(raw) as wrapped:
                    wrapped.sendall(b"hello")
                    wrapped.recv(1)
            except (ssl.SSLError, OSError):
                pass

    def dropped() -> dict[str, int]:
        counters = agent_status(first)["counters"]
        return {name: n for name, n in counters.items() if name.startswith("dropped")}

    wait_for(lambda: sum(dropped().values()) >= 400, "the strangers to be counted")
    after = agent_status(first)
    assert [m["route"] for m in after["members"]] == ["tomcat2"]
    assert (after["sessions"], after["feed_head"]) == (before["sessions"], before["feed_head"])
    log = home(first).agent_log.read_text().splitlines()
    lines = [line for line in log if "dropped what came from" in line]
    assert len(lines) == len(set(lines)) <= len(dropped())
    assert lines
