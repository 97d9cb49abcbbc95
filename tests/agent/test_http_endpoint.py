"""The agent's HTTP endpoint: real requests to a real agent, and bytes that mean no good."""

import asyncio
import os
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clustersession.agent import http_endpoint as endpoint_module
from clustersession.agent.event_log import EventLog
from clustersession.agent.http_endpoint import CLIENTS_MAX, HEAD_BYTES_MAX, Endpoint
from clustersession.core.identity import Phase
from clustersession.session.visit import visit_of
from clustersession.settings.settings import Settings
from clustersession.tools.demo.processes import wait_for
from clustersession.worker.runtime import Runtime
from tests.support.node_process import node_process
from tests.support.processes import free_port
from tests.worker.thread_nodes import login, opened, running_nodes

Samples = dict[tuple[str, str], float]


def get(
    port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def answer_to(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(data)
        answer = b""
        # What is left unread when we are answered comes back as a reset.
        try:
            while part := sock.recv(4096):
                answer += part
        except ConnectionResetError:
            pass
    return answer


def samples(port: int) -> Samples:
    """By name and the value of the first label."""
    status, body = get(port, "/metrics")
    assert status == 200
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(body) for sample in family.samples
    }


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def node(tmp_path: Path, port: int, **settings: object) -> Runtime:
    return Runtime.from_options({
        "distributable": True, "agent": "thread", "bind": "127.0.0.1", "secret": "s" * 32,
        "multicast_address": "", "seeds": [f"127.0.0.1:{port}"], "port": port, "port_range": 1,
        "state_dir": str(tmp_path), **settings,
    })


@pytest.fixture
def one(tmp_path: Path) -> Iterator[tuple[Runtime, int]]:
    port = free_port()
    runtime = node(tmp_path, free_port(), route="tomcat1", metrics_port=port)
    runtime.start()
    wait_for(lambda: listens(port), "the endpoint to listen")
    yield runtime, port
    runtime.close()


def test_live_ready_and_the_rest(one: tuple[Runtime, int]) -> None:
    _, port = one
    wait_for(lambda: get(port, "/ready") == (200, "ready\n"), "the node to be ready")
    assert get(port, "/live") == (200, "alive\n")
    assert get(port, "/metrics?x=1")[0] == 200
    assert get(port, "/live", "HEAD") == (200, "")
    assert get(port, "/live", "POST")[0] == 405
    assert get(port, "/")[0] == 404


def test_the_metrics_are_not_told_to_a_page_that_bound_its_name_to_us(tmp_path: Path) -> None:
    port = free_port()
    runtime = node(
        tmp_path, free_port(), route="a", metrics_port=port, metrics_hosts=["Metrics.shop.example"]
    )
    runtime.start()
    wait_for(lambda: listens(port), "the endpoint to listen")
    for host in ("localhost:1", "app1", "[::1]", "metrics.shop.example:9464"):
        assert get(port, "/metrics", headers={"Host": host})[0] == 200, host
    for host in ("evil.example", "", "metrics.shop.example.evil.example", "metrics.shop.example/"):
        status, body = get(port, "/metrics", headers={"Host": host})
        assert (status, "metrics_hosts" in body) == (421, True), host
        assert get(port, "/live", headers={"Host": host})[0] == 200
    two = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n\r\n"
    assert answer_to(port, two).startswith(b"HTTP/1.1 421 ")
    assert answer_to(port, b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    runtime.close()


def test_a_node_that_drains_is_not_ready(one: tuple[Runtime, int], tmp_path: Path) -> None:
    runtime, port = one
    wait_for(lambda: get(port, "/ready")[0] == 200, "the node to be ready")
    agent_client = runtime.agent_client()
    assert agent_client is not None
    agent_client.attachment.tell_stopping()
    wait_for(lambda: get(port, "/ready") == (503, "draining\n"), "the node to drain")
    assert get(port, "/live")[0] == 200


def test_what_requests_do_and_a_node_that_goes_are_seen(tmp_path: Path) -> None:
    port = free_port()
    with running_nodes(tmp_path, 2) as (first, second):
        third = node(
            tmp_path, free_port(), route="node3", metrics_port=port,
            seeds=[f"127.0.0.1:{n.settings.port}" for n in (first, second)],
        )
        third.start()
        try:
            wait_for(lambda: third.manager().cluster.serving_routes() >= {"node1", "node2"},
                     "the third node to know the others")
            cookie = login(first.manager(), "ann")
            session = opened(third.manager(), cookie)
            session["n"] = 2
            third.manager().commit(visit_of(session))
            wait_for(lambda: samples(port)["clustersession_commits_total", ""] == 1, "the commit")
            seen = samples(port)
            assert seen["clustersession_members", "alive"] == 2
            assert seen["clustersession_peer_up", "node1"] == 1
            assert seen["clustersession_sessions", ""] == 1
            assert seen["clustersession_phase", "ready"] == 1
            assert seen["clustersession_strayed_total", ""] == 1
            assert seen["clustersession_changes_applied_total", ""] >= 1
            second.close()
            wait_for(lambda: samples(port)["clustersession_members", "alive"] == 1, "it to be gone")
            assert samples(port)["clustersession_events_total", "member_left"] == 1
            assert ("clustersession_peer_up", "node2") not in samples(port)
        finally:
            third.close()


@pytest.mark.system
def test_a_node_that_is_killed_is_seen_and_so_is_its_return(
    one: tuple[Runtime, int], tmp_path: Path
) -> None:
    runtime, port = one
    with node_process("tomcat2", tmp_path / "second", runtime) as second:
        wait_for(lambda: samples(port).get(("clustersession_peer_up", "tomcat2")) == 1, "it")
        second.kill()
        wait_for(lambda: samples(port)["clustersession_peer_up", "tomcat2"] == 0, "the loss")
        seen = samples(port)
        assert seen["clustersession_members", "dead"] == 1
        assert seen["clustersession_members", "alive"] == 0
        assert seen["clustersession_events_total", "member_lost"] == 1
        assert ("clustersession_peer_heard_seconds", "tomcat2") not in seen
        assert ("clustersession_events_total", "member_left") not in seen
        second.start()
        wait_for(lambda: samples(port)["clustersession_peer_up", "tomcat2"] == 1, "its return")
        assert samples(port)["clustersession_members", "dead"] == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n", b"GET\r\n\r\n", b"GET /live\r\n\r\n", b"GET live HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /live HTTP/9.9\r\n\r\n", b"G" * (HEAD_BYTES_MAX + 10), os.urandom(500) + b"\r\n\r\n",
        b"GET /" + b"a" * HEAD_BYTES_MAX,
    ],
    ids=range(10),
)
def test_bytes_that_are_no_request_are_refused_and_the_agent_goes_on(
    one: tuple[Runtime, int], data: bytes
) -> None:
    _, port = one
    answer = answer_to(port, data)
    assert answer.split(b" ")[1:2] in ([b"400"], [b"431"], []), answer[:100]
    assert get(port, "/live") == (200, "alive\n")


def test_more_clients_than_there_is_room_for_push_the_oldest_out(
    one: tuple[Runtime, int]
) -> None:
    _, port = one
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(CLIENTS_MAX + 1)]
    silent[0].settimeout(10)
    try:
        assert get(port, "/live") == (200, "alive\n")
        assert silent[0].recv(1) == b""
    finally:
        for sock in silent:
            sock.close()


def make_endpoint(port: int, **overrides: object) -> Endpoint:
    event_log = EventLog(Settings(), lambda node: "")
    return Endpoint(
        "127.0.0.1", port, event_log, ask=lambda: None,
        status=lambda: {"phase": "ready"}, phase=lambda: Phase.READY, **overrides,
    )


async def test_who_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "CLIENT_S", 0.05)
    port = free_port()
    serving = asyncio.create_task(make_endpoint(port).run())
    for _ in range(500):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except OSError:
            await asyncio.sleep(0.01)
    writer.write(b"GET /li")
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_a_flood_of_scrapes_is_rendered_once() -> None:
    endpoint = make_endpoint(0)
    looks = 0

    def status() -> dict[str, str]:
        nonlocal looks
        looks += 1
        return {"phase": "ready"}

    endpoint._status = status
    answers = await asyncio.gather(*(endpoint.answer(b"GET /metrics HTTP/1.0") for _ in range(100)))
    assert looks == 1
    assert len({body for _, _, body in answers}) == 1
    await endpoint.answer(b"GET /metrics HTTP/1.0")
    assert looks == 1


async def test_a_taken_port_is_reported_and_taken_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(endpoint_module, "LISTEN_AGAIN_S", 0.01)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        serving = asyncio.create_task(make_endpoint(port).run())
        for _ in range(500):
            if caplog.records:
                break
            await asyncio.sleep(0.01)
        assert "settings metrics_bind and metrics_port" in caplog.text
    for _ in range(500):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except OSError:
            await asyncio.sleep(0.01)
    writer.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
