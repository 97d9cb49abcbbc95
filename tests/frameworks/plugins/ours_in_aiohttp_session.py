"""pytest plugin: aiohttp_session's own tests get our storage in place of its simple one."""

from typing import Any

import aiohttp_session
from aiohttp import web

from clustersession.aiohttp.storage import ClusterSessionStorage

_waiting: list["StorageOfTheNextApplication"] = []


class StorageOfTheNextApplication(aiohttp_session.AbstractStorage):
    """Is made before the application, as these tests do, and becomes ours when that is there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._options = {"cookie_name": "AIOHTTP_SESSION", **options}
        self._ours: ClusterSessionStorage | None = None
        _waiting.append(self)

    def serve(self, app: web.Application) -> None:
        """Become the storage of an application."""
        self._ours = ClusterSessionStorage(app, **self._options)

    async def new_session(self) -> aiohttp_session.Session:
        """Do what ours does."""
        assert self._ours is not None
        return await self._ours.new_session()

    async def load_session(self, request: web.Request) -> aiohttp_session.Session:
        """Do what ours does."""
        assert self._ours is not None
        return await self._ours.load_session(request)

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: aiohttp_session.Session
    ) -> None:
        """Do what ours does."""
        assert self._ours is not None
        await self._ours.save_session(request, response, session)


def pytest_configure() -> None:
    """Put ours in the place of the simple storage."""
    aiohttp_session.SimpleCookieStorage = StorageOfTheNextApplication  # type: ignore
    original = web.Application.__init__

    def with_ours(self: web.Application, *arguments: Any, **keywords: Any) -> None:
        original(self, *arguments, **keywords)
        if _waiting:
            # What was made before it was for a test without an application.
            _waiting.pop().serve(self)
            _waiting.clear()

    web.Application.__init__ = with_ours  # type: ignore[method-assign]
