"""Workers of one host share one session store; concurrent writes merge; readers store nothing."""

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import Node
from clustersession.tools.demo.processes import wait_for
from tests.support.apps import (
    fastapi_under_gunicorn,
    fastapi_under_uvicorn,
    flask_under_gunicorn,
)
from tests.system.client import agent_status, data, get, new_session, post, settled
from tests.system.conftest import StartNodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

PAIRS = int(os.environ.get("TEST_PAIRS", "150"))
READERS = int(os.environ.get("TEST_READERS", "500"))


@pytest.mark.parametrize("make", [fastapi_under_gunicorn, flask_under_gunicorn])
def test_500_fresh_connections_to_two_workers_count_one_by_one(
    start_nodes: StartNodes, make: object
) -> None:
    (node,) = start_nodes(make, "tomcat1")
    cookie = new_session(node, user="ann")
    pids = set()
    for wanted in range(1, 501):
        reply = post(node, "/api/count", cookie, {})
        assert reply.data["count"] == wanted
        assert reply.set_cookie is None
        pids.add(reply.data["pid"])
    assert len(pids) == 2, "both workers must have answered"


def write_pairs(first: Node, second: Node, count: int) -> None:
    """Two requests at the same time, each reading before the other has written."""
    cookie = new_session(first, user="ann")
    with ThreadPoolExecutor(2) as pool:
        for number in range(count):
            requests = [
                pool.submit(
                    post, node, "/api/slow", cookie,
                    {"key": f"{side}{number}", "value": number, "seconds": 0.01},
                )
                for side, node in (("left", first), ("right", second))
            ]
            assert [r.result().status for r in requests] == [200, 200]
    wanted = {"user": "ann"} | {
        f"{side}{number}": number for side in ("left", "right") for number in range(count)
    }
    for node in (first, second):
        wait_for(lambda n=node: data(n, cookie) == wanted, f"{node.route} to hold every key")


def test_pairs_of_writes_on_one_worker_keep_both_keys(start_nodes: StartNodes) -> None:
    (node,) = start_nodes(fastapi_under_uvicorn, "tomcat1")
    write_pairs(node, node, PAIRS)


def test_pairs_of_writes_on_two_workers_keep_both_keys(start_nodes: StartNodes) -> None:
    (node,) = start_nodes(fastapi_under_gunicorn, "tomcat1")
    write_pairs(node, node, PAIRS)


def test_pairs_of_writes_on_two_nodes_keep_both_keys(start_nodes: StartNodes) -> None:
    first, second = start_nodes(fastapi_under_uvicorn, "tomcat1", "tomcat2")
    write_pairs(first, second, PAIRS)


@pytest.mark.timeout(120 + READERS // 50)
def test_readers_without_a_cookie_leave_nothing(start_nodes: StartNodes) -> None:
    first, second = start_nodes(fastapi_under_uvicorn, "tomcat1", "tomcat2")
    for _ in range(READERS):
        reply = get(first, "/api/session")
        assert reply.data["data"] == {}
        assert reply.set_cookie is None
    for node in (first, second):
        seen = agent_status(node)
        assert (seen["sessions"], seen["feed_head"]) == (0, 0)


def test_100_000_readers_without_a_cookie_leave_nothing(tmp_path: Path) -> None:
    from clustersession.asgi import ClusterSessionMiddleware

    started: list[object] = []

    async def app(scope: dict, receive: object, send: object) -> None:
        scope["session"].get("user")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: dict) -> None:
        if message["type"] == "http.response.start":
            started.extend(name for name, _ in message["headers"] if name == b"set-cookie")

    middleware = ClusterSessionMiddleware(
        app, state_dir=str(tmp_path), route="tomcat1", cluster_name="readers", agent="thread",
        distributable=True, bind="127.0.0.1", multicast_address="", secret="s" * 32,
    )

    async def main() -> None:
        for _ in range(100_000):
            scope = {"type": "http", "headers": [(b"host", b"x")], "path": "/", "method": "GET"}
            await middleware(scope, None, send)

    asyncio.run(main())
    stats = middleware.runtime.manager().replica.stats()
    middleware.runtime.close()
    assert started == []
    assert (stats.sessions, stats.tombstones, stats.head) == (0, 0, 0)


def test_the_agent_outlives_a_killed_worker_and_a_killed_agent_is_replaced(
    start_nodes: StartNodes,
) -> None:
    first, second = start_nodes(fastapi_under_gunicorn, "tomcat1", "tomcat2")
    cookie = new_session(first, user="ann")
    agent = agent_status(first)["agent_pid"]
    worker = get(first, "/api/whoami").data["pid"]
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: get(first, "/api/whoami").data["pid"] != worker, "another worker")
    assert agent_status(first)["agent_pid"] == agent
    os.kill(agent, signal.SIGKILL)
    wait_for(lambda: agent_status(first).get("agent_pid", agent) != agent, "another agent", 5.0)
    wait_for(lambda: settled(first, 1), "the new agent to be ready")
    post(first, "/api/set", cookie, {"key": "cart", "value": ["tea"]})
    assert data(second, cookie) == {"user": "ann", "cart": ["tea"]}
