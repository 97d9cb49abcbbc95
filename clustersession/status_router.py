"""Offers the status page as a router of FastAPI, behind dependencies of the application.

    app.include_router(
        status_router(dashboard_token=token, dependencies=[Depends(staff_only)]), prefix="/cluster"
    )

A mounted ``Dashboard`` is reached past an application's dependencies; the pages of this router are
not. Its own token is needed all the same.

Needs FastAPI and more: ``pip install 'clustersession[dashboard,fastapi]'``.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from fastapi.params import Depends
from starlette.types import Receive, Scope, Send

from clustersession.tools.dashboard.app import Dashboard

METHODS = ["GET", "HEAD", "POST"]


def status_router(*, dependencies: Sequence[Depends] = (), **options: Any) -> APIRouter:
    """Make a router with the status page and all that belongs to it; it opens nothing.

    dependencies: what must let a request through first. options: those of ``Dashboard``. Raises
    ConfigurationError. The router needs a prefix, under which the page is "/".
    """
    dashboard = Dashboard(**options)
    router = APIRouter(dependencies=[*dependencies])

    @router.api_route("/{page:path}", methods=METHODS, include_in_schema=False)
    async def serve(page: str) -> Response:
        return _Page(dashboard, page)

    return router


class _Page(Response):
    """Has the dashboard answer, with what stands before the page's path as its root."""

    def __init__(self, dashboard: Dashboard, page: str) -> None:
        super().__init__()
        self._dashboard, self._page = dashboard, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as a mounted application would."""
        root, path = str(scope.get("root_path", "")), str(scope["path"])
        # A proxy may have taken the root away from the path, or left it there.
        below = path.removeprefix(root) if path.startswith(f"{root}/") else path
        prefix = below.removesuffix(f"/{self._page}")
        own = {**scope, "root_path": root + prefix, "path": f"{root}{below}"}
        await self._dashboard(own, receive, send)
