"""Asks an ASGI application in its own process, each time by a client of its own."""

from typing import Any

import httpx

from clustersession.worker.runtime import Runtime
from tests.adapters.contract import COOKIE_NAME, Answer, Served, in_thread


class ServedByAsgi(Served):
    """An application whose sessions are those of a runtime."""

    def __init__(self, app: Any, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime

    def get(self, view: str, cookie: str | None = None) -> Answer:
        async def ask() -> Answer:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                headers = {"Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else {}
                reply = await client.get(f"/{view}", headers=headers)
            return Answer(
                reply.status_code, self.data_of(reply),
                tuple(reply.headers.get_list("Set-Cookie")), reply.headers.get("Vary", ""),
            )

        return in_thread(ask)

    def data_of(self, reply: httpx.Response) -> Any:
        """What a view returned."""
        return reply.json()

    def runtime(self) -> Runtime:
        return self._runtime
