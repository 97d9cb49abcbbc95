"""What clients of MCP see, wherever they come, and what they cannot do."""

from typing import Any

import httpx
import pytest

from clustersession.asgi import ASGIApp, Message, Receive, Scope, Send
from clustersession.core.errors import ConfigurationError, ReplicationFailed, ReplicaUnusable
from clustersession.mcp import ClusterMCPMiddleware
from clustersession.mcp.messages import INITIALIZE_BYTES_MAX
from clustersession.session.session import Session
from clustersession.worker.runtime import Runtime
from tests.adapters.asgi_apps import bare_app, make_app
from tests.adapters.mcp.world import (
    MAJOR,
    McpClient,
    client_of,
    initialize_request,
    make_server,
    running,
    with_users,
    workers,
)

NO_SESSION = "Sessions begin at initialize"


@pytest.mark.parametrize("json_response", [True, False])
async def test_tools_count_on_whichever_worker_without_initializing_again(
    json_response: bool,
) -> None:
    async with workers(2, json_response=json_response) as (first, second):
        given = await first.initialize()
        second.goes_on_as(first)
        for number, client in enumerate((first, second, second, first), 1):
            reply = await client.call("count")
            assert f"count {number}" in reply.text
            assert reply.headers.get("mcp-session-id", given) == given


async def test_a_worker_knows_of_the_client_what_it_said_to_another() -> None:
    async with workers(2) as (first, second):
        await first.initialize(clientInfo={"name": "a client", "version": "3"})
        second.goes_on_as(first)
        here, there = await first.call("client"), await second.call("client")
    assert "a client" in here.text
    assert "listChanged" in here.text
    assert here.text.partition("data:")[2] == there.text.partition("data:")[2]


async def test_without_a_state_of_the_sdk_the_session_is_there_all_the_same() -> None:
    async with workers(2, stateless_http=True) as (first, second):
        await first.initialize()
        second.goes_on_as(first)
        assert "count 1" in (await first.call("count")).text
        assert "count 2" in (await second.call("count")).text
        assert (await second.http.delete(
            "http://127.0.0.1:8000/mcp", headers=second.headers
        )).status_code == 200  # fmt: skip
        assert (await first.call("count")).status_code == 404


async def test_a_session_that_a_tool_ends_is_over_everywhere() -> None:
    async with workers(2) as (first, second):
        await first.initialize()
        second.goes_on_as(first)
        assert "left" in (await second.call("leave")).text
        assert (await first.call("count")).status_code == 404
        assert (await second.call("count")).status_code == 404


async def test_a_session_that_a_tool_ends_leaves_nothing_behind() -> None:
    server = make_server()
    async with running(server) as app, client_of(app) as client:
        await client.initialize()
        assert "left" in (await client.call("leave")).text
        assert not sessions_of_the_sdk(server)
        assert not app._transports._by_session


async def test_a_session_is_not_begun_but_by_initialize() -> None:
    async with workers(1) as (client,):
        reply = await client.call("count")
        assert reply.status_code == 400
        assert "mcp-session-id" not in reply.headers
        assert "set-cookie" not in reply.headers


@pytest.mark.skipif(MAJOR == 1, reason="mcp 1 does not speak that protocol")
async def test_the_protocol_without_sessions_has_none_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    request = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "count", "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "n", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }},
    }  # fmt: skip
    async with workers(1) as (client,):
        reply = await client.post(
            request, mcp_protocol_version="2026-07-28", mcp_method="tools/call", mcp_name="count"
        )
    assert reply.status_code == 200, reply.text
    assert '"isError":true' in reply.text
    assert NO_SESSION in caplog.text
    assert 'mode="legacy"' in caplog.text, "what to change"
    assert "mcp-session-id" not in reply.headers


async def test_ids_of_nobody_and_of_browsers_are_not_found() -> None:
    async with workers(1) as (client,):
        given = await client.initialize()
        browsers = Runtime.from_options({})
        transport = httpx.ASGITransport(app=make_app(runtime=browsers))
        async with httpx.AsyncClient(transport=transport) as browser:
            reply = await browser.post("http://127.0.0.1/set", json={"user": "ann"})
        stolen = reply.cookies["CLUSTERSESSION"]
        forged = given[:20] + ("A" if given[20] != "A" else "B") + given[21:]
        for wrong in (stolen, forged, "x", "a" * 5000):
            assert (await client.call("count", mcp_session_id=wrong)).status_code == 404, wrong
        browsers.close()


async def test_cookies_do_not_count() -> None:
    async with workers(1) as (client,):
        given = await client.initialize()
        del client.headers["mcp-session-id"]
        reply = await client.call("count", cookie=f"mcp_session={given}")
        assert reply.status_code == 400


async def test_a_browser_is_answered_in_the_header_like_everybody() -> None:
    async with workers(1) as (client,):
        client.headers |= {"sec-fetch-site": "same-origin", "cookie": "other=1"}
        await client.initialize()
        assert "count 1" in (await client.call("count")).text


async def test_what_a_client_says_of_itself_is_bounded() -> None:
    async with workers(1) as (client,):
        reply = await client.post(initialize_request(more="x" * INITIALIZE_BYTES_MAX))
        assert reply.status_code == 413
        assert str(INITIALIZE_BYTES_MAX) in reply.text
        assert "mcp-session-id" not in reply.headers


async def test_a_session_belongs_to_the_credential_that_began_it_on_every_worker() -> None:
    one, other = make_server(), make_server()
    async with running(one, with_users(one)) as app, running(other, with_users(other)) as second:
        async with client_of(app) as ann, client_of(second) as elsewhere:
            ann.headers["x-user"] = "ann"
            await ann.initialize()
            elsewhere.goes_on_as(ann)
            for client in (ann, elsewhere):
                assert (await client.call("count", x_user="eve")).status_code == 404
            assert "count 1" in (await elsewhere.call("count")).text
            assert (await elsewhere.call("count", x_user="eve")).status_code == 404
            assert "count 2" in (await ann.call("count")).text
            assert await _is_refused_to_end(elsewhere, "eve")
            assert "count 3" in (await ann.call("count")).text


async def test_it_does_so_where_the_sdk_is_stateless_and_compares_nothing() -> None:
    one, other = make_server(stateless_http=True), make_server(stateless_http=True)
    read_before = reading_first(with_users(other))
    async with running(one, with_users(one)) as app, running(other, read_before) as second:
        async with client_of(app) as ann, client_of(second) as elsewhere:
            ann.headers["x-user"] = "ann"
            await ann.initialize()
            elsewhere.goes_on_as(ann)
            for client in (ann, elsewhere):
                assert (await client.call("count", x_user="eve")).status_code == 404
                assert await _is_refused_to_end(client, "eve")
            assert "count 1" in (await elsewhere.call("count")).text
            assert "count 2" in (await ann.call("count")).text
            del ann.headers["x-user"]
            assert (await ann.call("count")).status_code == 404


def reading_first(app: ASGIApp) -> ASGIApp:
    """Read a body before anybody looks at its credential, as something that logs does."""
    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        messages = [await receive()]

        async def again() -> Message:
            return messages.pop() if messages else await receive()

        return await app(scope, again, send)

    return read


async def test_a_session_that_cannot_be_stored_is_refused_and_leaves_nothing_behind() -> None:
    server = make_server()
    async with running(server, new_sessions_per_second_max=1) as app, client_of(app) as client:
        replies = [await client.post(initialize_request()) for _ in range(20)]
        begun = [reply for reply in replies if reply.status_code == 200]
        assert all("mcp-session-id" in reply.headers for reply in begun)
        refused = [reply for reply in replies if reply.status_code == 503]
        assert len(begun) + len(refused) == 20
        assert len(refused) > 1
        assert not any("mcp-session-id" in reply.headers for reply in refused)
        assert len(sessions_of_the_sdk(server)) == len(begun)


def sessions_of_the_sdk(server: Any) -> Any:
    manager = server.routes[0].endpoint.session_manager
    return manager._server_instances


@pytest.mark.parametrize("error", [ReplicationFailed("nobody confirms"), ReplicaUnusable("closed")])
async def test_a_session_that_fails_to_be_stored_is_refused(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with workers(1) as (client,):
        with monkeypatch.context() as patch:
            async def fail(session: Session) -> None:
                raise error

            patch.setattr(Session, "asave", fail)
            reply = await client.post(initialize_request())
        assert reply.status_code == 503
        assert "mcp-session-id" not in reply.headers
        await client.initialize()


async def _is_refused_to_end(client: McpClient, user: str) -> bool:
    headers = {**client.headers, "x-user": user}
    reply = await client.http.delete("http://127.0.0.1:8000/mcp", headers=headers)
    return reply.status_code == 404


async def test_another_header_is_refused() -> None:
    sent = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: object) -> None:
        sent.append(message)

    app = ClusterMCPMiddleware(bare_app(), header_name="x-session")
    with pytest.raises(ConfigurationError, match="x-session"):
        await app({"type": "lifespan"}, receive, send)
    assert "mcp-session-id" in str(sent)
