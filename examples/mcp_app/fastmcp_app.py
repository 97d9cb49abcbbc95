"""The MCP server of app.py on FastMCP (4.0 or newer).

    pip install "clustersession[mcp]" fastmcp uvicorn
    uvicorn fastmcp_app:app
"""

import os

import anyio
from fastmcp import Context, FastMCP
from fastmcp.server.dependencies import get_http_request
from starlette.requests import Request
from starlette.responses import JSONResponse

from clustersession.mcp import ClusterEventStore, ClusterMCPMiddleware, session_of

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")

server = FastMCP("The Clustered Tea Shop")


@server.tool
async def count() -> str:
    """Count the calls of this session, on whichever node."""
    session = session_of(get_http_request())
    session["count"] = session.get("count", 0) + 1
    return f"{session['count']} at {NODE}"


@server.tool
async def brew(context: Context, seconds: float) -> str:
    """Take a while, and tell how it goes."""
    await context.report_progress(0, 1, f"brewing at {NODE}")
    await anyio.sleep(min(seconds, 30.0))
    return f"brewed at {NODE}"


@server.custom_route("/api/whoami", methods=["GET"])
async def who_am_i(_: Request) -> JSONResponse:
    """Tell which node this is; not a part of MCP."""
    return JSONResponse({"node": NODE, "pid": os.getpid()})


app = ClusterMCPMiddleware(
    server.http_app(event_store=ClusterEventStore(), retry_interval=200)
)
