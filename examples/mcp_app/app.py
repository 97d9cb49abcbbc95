"""An MCP server whose sessions survive the death of a node, on the official SDK (2.0 or newer).

    pip install "clustersession[mcp]" uvicorn
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 uvicorn app:app --port 8001
    CLUSTERSESSION_ROUTE=tomcat2 uvicorn app:app --port 8002

These are two nodes on one machine. A client may call a tool at either of them, in one session.
fastmcp_app.py is the same on FastMCP.
"""

import os

import anyio
from mcp.server.elicitation import AcceptedElicitation
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse

from clustersession.mcp import ClusterEventStore, ClusterMCPMiddleware, session_of

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")

server = MCPServer("The Clustered Tea Shop")


class Confirmation(BaseModel):
    """Is what the user is asked."""

    sure: bool


@server.tool()
async def count(context: Context) -> str:
    """Count the calls of this session, on whichever node."""
    request = context.request_context.request
    assert isinstance(request, Request)
    session = session_of(request)
    session["count"] = session.get("count", 0) + 1
    return f"{session['count']} at {NODE}"


@server.tool()
async def brew(context: Context, seconds: float) -> str:
    """Take a while, and tell how it goes."""
    await context.report_progress(0, 1, f"brewing at {NODE}")
    await anyio.sleep(min(seconds, 30.0))
    return f"brewed at {NODE}"


@server.tool()
async def throw_away(context: Context) -> str:
    """Ask the user, through the client, while the call is under way."""
    answer = await context.elicit(f"Throw away the tea at {NODE}?", Confirmation)
    sure = isinstance(answer, AcceptedElicitation) and answer.data.sure
    return f"{'gone' if sure else 'kept'} at {NODE}"


@server.custom_route("/api/whoami", methods=["GET"])  # type: ignore[untyped-decorator]
async def who_am_i(_: Request) -> JSONResponse:
    """Tell which node this is; not a part of MCP."""
    return JSONResponse({"node": NODE, "pid": os.getpid()})


app = ClusterMCPMiddleware(
    server.streamable_http_app(event_store=ClusterEventStore(), retry_interval=200)
)
