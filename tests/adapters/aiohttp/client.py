"""A client of an application of aiohttp, in the event loop of the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def browsing(app: web.Application) -> AsyncIterator[Client]:
    """A browser: it keeps the cookies that it is given."""
    async with TestClient(TestServer(app), cookie_jar=CookieJar(unsafe=True)) as client:
        yield client
