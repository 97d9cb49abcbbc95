"""The MCP servers of examples/mcp_app on two nodes, with the clients that people have.

The balancer is not sticky, so that each request may come to either node.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastmcp import Client as FastMCPClient
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitRequestParams, ElicitResult, TextContent

from clustersession.tools.demo.nodes import Node, make_node, uvicorn_command
from clustersession.tools.demo.processes import Program, free_port, wait_for
from tests.support.apps import ROOT
from tests.system.client import settled
from tests.system.conftest import StartNodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

@pytest.fixture(params=["app:app", "fastmcp_app:app"])
def application(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def nodes(start_nodes: StartNodes, application: str) -> list[Node]:
    return start_nodes(
        lambda route, directory, ports: make_node(
            route, directory, ports, uvicorn_command(application),
            app_directory=ROOT / "examples" / "mcp_app",
        ),
        "tomcat1", "tomcat2",
    )  # fmt: skip


@pytest.fixture
def balancer(nodes: list[Node]) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable, "-m", "clustersession.tools.demo.embedded_balancer", str(port), "none",
        *[f"{node.route}={node.port}" for node in nodes],
    ]  # fmt: skip
    program = Program(command, nodes[0].directory.parent / "balancer.log")
    program.start()
    try:
        program.wait_until_listening(port)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        program.stop()


def said(result: Any) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


@asynccontextmanager
async def client_of(url: str, **options: Any) -> AsyncIterator[Client]:
    async with Client(streamable_http_client(url), mode="legacy", **options) as client:
        yield client


async def begin(http: httpx.AsyncClient, url: str) -> dict[str, str]:
    """Initialize a session; returns the headers of its requests."""
    headers = {
        "accept": "application/json, text/event-stream", "content-type": "application/json",
    }  # fmt: skip
    params = {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }  # fmt: skip
    request = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    reply = await http.post(url, json=request, headers=headers)
    assert reply.status_code == 200
    assert "set-cookie" not in reply.headers
    headers["mcp-session-id"] = reply.headers["mcp-session-id"]
    headers["mcp-protocol-version"] = "2025-11-25"
    await http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"},
                    headers=headers)  # fmt: skip
    return headers


def calling(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}}
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}


async def call(
    http: httpx.AsyncClient, url: str, headers: dict[str, str], tool: str
) -> httpx.Response:
    return await http.post(url, json=calling(tool, {}), headers=headers)


async def break_off(
    http: httpx.AsyncClient, url: str, headers: dict[str, str], tool: str,
    arguments: dict[str, Any],
) -> str:  # fmt: skip
    """Call a tool, and go away at its first progress; returns the last event's id."""
    last = ""
    async with http.stream(
        "POST", url, json=calling(tool, arguments), headers=headers
    ) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("id: "):
                last = line[4:]
            if "progress" in line:
                break
    return last


async def resume(
    http: httpx.AsyncClient, url: str, headers: dict[str, str], last: str
) -> list[str]:
    """Read what comes after an event until the answer."""
    headers = {**headers, "last-event-id": last}
    async with http.stream("GET", url, headers=headers) as stream:
        assert stream.status_code == 200
        events = []
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                events.append(line[6:])
            if '"id":7' in line:
                break
        return events


def named_in(nodes: list[Node], text: str) -> Node:
    return next(node for node in nodes if node.route in text)


async def test_a_session_goes_on_when_a_node_is_killed(nodes: list[Node], balancer: str) -> None:
    async with client_of(balancer) as client:
        first = [said(await client.call_tool("count", {})) for _ in range(4)]
        assert {text.partition(" ")[2] for text in first} == {"at tomcat1", "at tomcat2"}
        nodes[0].kill()
        second = [said(await client.call_tool("count", {})) for _ in range(2)]
        nodes[0].start()
        wait_for(lambda: settled(nodes[0], 1), "the node that was killed to be back")
        nodes[1].kill()
        third = said(await client.call_tool("count", {}))
    assert [int(text.partition(" ")[0]) for text in first + second] == [1, 2, 3, 4, 5, 6]
    assert set(second[0].split()[1:]) == {"at", "tomcat2"}
    assert third == "7 at tomcat1"


@pytest.mark.parametrize("application", ["fastmcp_app:app"], indirect=True)
async def test_fastmcps_own_client_goes_on_too(nodes: list[Node], balancer: str) -> None:
    async with FastMCPClient(balancer, mode="legacy") as client:
        before = [said(await client.call_tool("count", {})) for _ in range(2)]
        nodes[0].kill()
        after = said(await client.call_tool("count", {}))
    assert [text[0] for text in before] == ["1", "2"]
    assert after == "3 at tomcat2"


@pytest.mark.parametrize("application", ["app:app"], indirect=True)
async def test_delete_ends_the_session_and_its_streams_on_every_node(nodes: list[Node]) -> None:
    first, second = (f"http://127.0.0.1:{node.port}/mcp" for node in nodes)
    async with httpx.AsyncClient(timeout=20) as http:
        headers = await begin(http, first)
        assert (await call(http, second, headers, "count")).status_code == 200
        async with http.stream("GET", second, headers=headers) as stream:
            assert stream.status_code == 200
            ended = await http.delete(first, headers=headers)
            assert ended.status_code == 200
            async for _ in stream.aiter_raw():
                pass  # until the other node closes it
        for url in (first, second):
            assert (await call(http, url, headers, "count")).status_code == 404
            assert (await http.delete(url, headers=headers)).status_code == 404


async def test_a_client_gets_at_another_node_what_it_missed(nodes: list[Node]) -> None:
    """The stream of a call breaks; the call goes on, and its answer is had at the other node."""
    first, second = (f"http://127.0.0.1:{node.port}/mcp" for node in nodes)
    async with httpx.AsyncClient(timeout=20) as http:
        headers = await begin(http, first)
        last = await break_off(http, first, headers, "brew", {"seconds": 1.5})
        events = await resume(http, second, headers, last)
        assert "brewed at tomcat1" in events[-1]
        # Whoever comes once more gets it once more, and at a third place after a kill.
        nodes[0].kill()
        assert "brewed at tomcat1" in (await resume(http, second, headers, last))[-1]


async def test_a_call_that_died_with_its_node_is_an_error_for_whoever_resumes(
    nodes: list[Node],
) -> None:
    first, second = (f"http://127.0.0.1:{node.port}/mcp" for node in nodes)
    async with httpx.AsyncClient(timeout=40) as http:
        headers = await begin(http, first)
        last = await break_off(http, first, headers, "brew", {"seconds": 20})
        nodes[0].kill()
        events = await resume(http, second, headers, last)
    assert "the node that ran this request is gone" in events[-1]


async def test_the_clients_call_that_died_with_its_node_raises(
    nodes: list[Node], balancer: str
) -> None:
    """The SDK's client resumes by itself, and is told; then it goes on."""
    async def kill(_: float, __: float | None, message: str | None) -> None:
        named_in(nodes, message or "").kill()

    async with client_of(balancer) as client:
        assert said(await client.call_tool("count", {})).startswith("1 at ")
        with pytest.raises(MCPError, match="the node that ran this request is gone"):
            await client.call_tool("brew", {"seconds": 25}, progress_callback=kill)
        assert said(await client.call_tool("count", {})).startswith("2 at ")


@pytest.mark.parametrize("application", ["app:app"], indirect=True)
async def test_a_question_to_the_user_that_is_open_at_the_kill_is_lost(
    nodes: list[Node], balancer: str
) -> None:
    async def answer(_: Any, question: ElicitRequestParams) -> ElicitResult:
        named_in(nodes, question.message).kill()
        return ElicitResult(action="accept", content={"sure": True})

    async with client_of(balancer, elicitation_callback=answer) as client:
        assert said(await client.call_tool("count", {})).startswith("1 at ")
        with pytest.raises(MCPError, match="the node that ran this request is gone"):
            await client.call_tool("throw_away", {})
        assert said(await client.call_tool("count", {})).startswith("2 at ")


@pytest.mark.parametrize("application", ["app:app"], indirect=True)
async def test_ids_that_are_not_of_mcp_are_refused(nodes: list[Node]) -> None:
    url = f"http://127.0.0.1:{nodes[0].port}/mcp"
    async with httpx.AsyncClient(timeout=20) as http:
        headers = await begin(http, url)
        given = headers["mcp-session-id"]
        for forged in ("x", given[:-12] + "AAAA" + given[-8:], "a" * 4000, "0" * 32):
            reply = await call(http, url, {**headers, "mcp-session-id": forged}, "count")
            assert reply.status_code == 404, forged
        none = {name: value for name, value in headers.items() if name != "mcp-session-id"}
        none["cookie"] = f"mcp_session={given}; CLUSTERSESSION={given}"
        assert (await call(http, url, none, "count")).status_code == 400
