"""A counter in the session, on Starlette; ``app`` under any ASGI server."""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from clustersession.asgi import ClusterSessionMiddleware


async def count(request):
    session = request.session
    session["count"] = session.get("count", 0) + 1
    return JSONResponse({"count": session["count"], "pid": os.getpid()})


async def pid(request):
    return JSONResponse({"pid": os.getpid()})


app = Starlette(
    routes=[Route("/count", count, methods=["POST"]), Route("/pid", pid)],
    middleware=[Middleware(ClusterSessionMiddleware)],
)
