"""Offers the session to FastAPI as a typed dependency.

    app.add_middleware(ClusterSessionMiddleware, distributable=True)

    @app.get("/")
    async def page(session: SessionDependency) -> dict[str, int]:
        session["visits"] = session.get("visits", 0) + 1
        return {"visits": session["visits"]}

It works in http and websocket routes and in other dependencies. The middleware of
``clustersession.asgi`` is needed all the same; without it a request fails with an error that says
so.
"""

from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from clustersession.asgi import ClusterSessionMiddleware, session_of
from clustersession.session.session import Session


async def get_session(connection: HTTPConnection) -> Session:
    """Return the session of a request or websocket. Raises RuntimeError without one."""
    return session_of(connection)


SessionDependency = Annotated[Session, Depends(get_session)]
"""The annotation of a parameter that is to be the session."""

__all__ = ["ClusterSessionMiddleware", "Session", "SessionDependency", "get_session"]
