"""Transports of the SDK come and go; the session stays."""

from typing import Any

import anyio

from clustersession.mcp.transports import current_transport
from tests.adapters.mcp.world import (
    client_of,
    make_server,
    running,
    workers,
)


def forget_everything(server: Any) -> None:
    """Do what the SDK does with a transport that is idle for long."""
    manager = server.router.routes[0].endpoint.session_manager
    manager._server_instances.clear()


async def test_a_transport_that_the_sdk_gave_up_is_made_again() -> None:
    server = make_server()
    async with running(server) as app, client_of(app) as client:
        await client.initialize()
        assert "count 1" in (await client.call("count")).text
        forget_everything(server)
        assert "count 2" in (await client.call("count")).text


async def test_many_requests_at_once_make_one_transport() -> None:
    server = make_server()
    async with workers(1) as (first,), running(server) as app, client_of(app) as second:
        await first.initialize()
        second.goes_on_as(first)
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(second.call, "client")
        manager = server.router.routes[0].endpoint.session_manager
        assert len(manager._server_instances) == 1


async def test_what_the_server_refuses_reaches_the_client() -> None:
    """The handshake is repeated with this client's headers, and judged by them."""
    server = make_server()
    async with workers(1) as (first,), running(server) as app, client_of(app) as second:
        await first.initialize()
        second.goes_on_as(first)
        reply = await second.call("count", host="evil.example")
        assert reply.status_code == 421
        assert "count 1" in (await second.call("count")).text


def test_outside_of_a_request_there_is_no_transport() -> None:
    assert current_transport() is None
