"""MCP servers side by side, as on several workers of a node, and a client without comfort."""

import importlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from clustersession.asgi import ASGIApp, Receive, Scope, Send
from clustersession.mcp import ClusterMCPMiddleware, session_of

URL = "http://127.0.0.1:8000/mcp"
VERSION = "2025-06-18"
"""A protocol that both major versions of the SDK speak."""

try:
    _servers: Any = importlib.import_module("mcp.server.mcpserver")
    MAJOR = 2
except ModuleNotFoundError:
    _servers = importlib.import_module("mcp.server.fastmcp")
    MAJOR = 1


def make_server(**http: Any) -> Any:
    """Make an MCP server's ASGI application with tools that look at the session."""
    server = _servers.FastMCP("test", **http) if MAJOR == 1 else _servers.MCPServer("test")

    # Not by annotations: which class Context is depends on the version.
    async def count(context: Any) -> str:
        session = session_of(context.request_context.request)
        session["count"] = session.get("count", 0) + 1
        return f"count {session['count']}"

    async def client(context: Any) -> str:
        params = context.session.client_params
        return json.dumps(params.model_dump(by_alias=True, exclude_none=True, mode="json"))

    async def leave(context: Any) -> str:
        session_of(context.request_context.request).invalidate()
        return "left"

    for tool in (count, client, leave):
        tool.__annotations__["context"] = _servers.Context
        server.add_tool(tool)
    return server.streamable_http_app(**({} if MAJOR == 1 else http))


@asynccontextmanager
async def running(server: Any, app: ASGIApp | None = None, **options: Any) -> AsyncIterator[Any]:
    """Run a server inside of the middleware, or ``app`` instead, which calls the server."""
    wrapped = ClusterMCPMiddleware(server if app is None else app, **options)
    async with server.router.lifespan_context(server):
        try:
            yield wrapped
        finally:
            wrapped.runtime.close()


@asynccontextmanager
async def workers(count: int, **http: Any) -> AsyncIterator[list["McpClient"]]:
    """Run workers, and give a client of each."""
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(running(make_server(**http))) for _ in range(count)]
        yield [await stack.enter_async_context(client_of(app)) for app in apps]


def with_users(app: ASGIApp) -> ASGIApp:
    """Take the header ``x-user`` for a credential that was verified."""
    async def verify(scope: Scope, receive: Receive, send: Send) -> None:
        for name, value in scope.get("headers", ()):
            if name == b"x-user":
                token = AccessToken(token="t", client_id=value.decode(), scopes=[])
                scope["user"] = AuthenticatedUser(token)
        await app(scope, receive, send)

    return verify


@dataclass
class McpClient:
    """Sends what it is told; ``headers`` are of every request."""

    http: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)
    calls: int = 0

    async def post(self, message: object, **headers: str) -> httpx.Response:
        """Post a JSON-RPC message; an underscore in a name stands for a hyphen."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        content = json.dumps(message).encode()
        return await self.http.post(URL, content=content, headers={**self.headers, **given})

    async def initialize(self, **more: Any) -> str:
        """Begin a session and use it from now on; returns its id."""
        reply = await self.post(initialize_request(**more))
        assert reply.status_code == 200, reply.text
        self.headers["mcp-session-id"] = reply.headers["mcp-session-id"]
        self.headers["mcp-protocol-version"] = VERSION
        done = await self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert done.status_code == 202
        return self.headers["mcp-session-id"]

    async def call(self, tool: str, **headers: str) -> httpx.Response:
        """Call a tool without arguments."""
        params = {"name": tool, "arguments": {}}
        self.calls += 1
        request = {"jsonrpc": "2.0", "id": self.calls, "method": "tools/call", "params": params}
        return await self.post(request, **headers)

    def goes_on_as(self, other: "McpClient") -> None:
        """Use the session of another worker's client."""
        self.headers = dict(other.headers)


def initialize_request(**more: Any) -> dict[str, Any]:
    """Make what a client begins with; ``more`` is in its params."""
    params = {
        "protocolVersion": VERSION, "capabilities": {"roots": {"listChanged": True}},
        "clientInfo": {"name": "bare", "version": "1"}, **more,
    }  # fmt: skip
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[McpClient]:
    """Make a client of an application."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, timeout=20) as http:
        yield McpClient(http, {
            "accept": "application/json, text/event-stream", "content-type": "application/json",
        })  # fmt: skip
