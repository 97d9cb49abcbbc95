"""Serves applications of frameworks that bring their own server, each in a thread of its own.

A view may make a whole request in the middle of its own, which blocks its server's event loop: the
client is in the view's thread, and the other server in another one.
"""

import asyncio
import http.client
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

from aiohttp import web
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from clustersession.worker.runtime import Runtime
from tests.adapters.contract import COOKIE_NAME, Answer, Served

Serving = Callable[[], AbstractAsyncContextManager[int]]
"""Serves while it is entered, on a port of the loopback address."""

DEADLINE_S = 20.0


@asynccontextmanager
async def aiohttp_server(app: web.Application) -> AsyncIterator[int]:
    """An application of aiohttp on a port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def tornado_server(app: Application) -> AsyncIterator[int]:
    """An application of Tornado on a port, with its sessions, if it has any."""
    socket, port = bind_unused_port()
    server = HTTPServer(app)
    server.add_socket(socket)
    try:
        yield port
    finally:
        server.stop()
        await asyncio.wait_for(server.close_all_connections(), DEADLINE_S)
        if "clustersession" in app.settings:
            app.settings["clustersession"].close()


@contextmanager
def in_own_thread(serving: Serving) -> Iterator[int]:
    """The port of a server that runs in a thread of its own."""
    started, ports = threading.Event(), list[int]()
    stops: list[Callable[[], object]] = []

    async def serve() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        async with serving() as port:
            ports.append(port)
            started.set()
            await stop.wait()
        # The connection to the agent is closed in the next round of the loop.
        await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        while not started.wait(0.1):
            assert thread.is_alive(), "the server did not start"
        yield ports[0]
    finally:
        if stops and thread.is_alive():
            stops[0]()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def ask(
    port: int, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> http.client.HTTPResponse:
    """The answer to a request, read to its end: ``text_of`` has its body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        response.text = response.read().decode()  # type: ignore[attr-defined]
        return response
    finally:
        connection.close()


def text_of(response: http.client.HTTPResponse) -> str:
    """The body of what ``ask`` returned."""
    text: str = response.text  # type: ignore[attr-defined]
    return text


class ServedOnPort(Served):
    """An application on a port, whose sessions are those of a runtime."""

    def __init__(self, port: int, runtime: Runtime) -> None:
        self._port = port
        self._runtime = runtime

    def get(self, view: str, cookie: str | None = None) -> Answer:
        return answer(self._port, f"/{view}", cookie)

    def runtime(self) -> Runtime:
        return self._runtime


class Browser:
    """Keeps the cookies that it is given."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.cookies: dict[str, str] = {}

    def get(self, path: str, method: str = "GET") -> http.client.HTTPResponse:
        """The answer to a request with the cookies."""
        pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = ask(self._port, path, {"Cookie": pairs} if pairs else {}, method)
        for header in response.headers.get_all("Set-Cookie") or ():
            name, _, rest = header.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return response

    def post(self, path: str) -> http.client.HTTPResponse:
        """The answer to a POST without a body; a redirect counts as the page that it names."""
        response = self.get(path, "POST")
        place = response.headers.get("Location")
        return self.get(place) if place else response


def answer(port: int, path: str, cookie: str | None = None) -> Answer:
    """One request with a session cookie of this value."""
    headers = {"Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else {}
    response = ask(port, path, headers)
    text = text_of(response)
    data: Any = json.loads(text) if "json" in response.headers.get("Content-Type", "") else text
    return Answer(
        response.status, data, tuple(response.headers.get_all("Set-Cookie") or ()),
        ", ".join(response.headers.get_all("Vary") or ()),
    )
