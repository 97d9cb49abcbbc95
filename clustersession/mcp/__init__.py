"""Keeps the sessions of MCP servers in the cluster: any node goes on where another one died.

    app = ClusterMCPMiddleware(server.streamable_http_app(), distributable=True)

It needs the official SDK, ``mcp``, or FastMCP, which is built upon it.
"""

from clustersession.asgi import session_of
from clustersession.mcp.events import ClusterEventStore
from clustersession.mcp.middleware import ClusterMCPMiddleware

__all__ = ["ClusterEventStore", "ClusterMCPMiddleware", "session_of"]
