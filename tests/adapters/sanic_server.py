"""Sanic applications for the tests: under Sanic's own server, in a thread, or under ASGI."""

import asyncio
import itertools
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sanic import Sanic

from tests.support.processes import free_port

T = TypeVar("T")
_numbers = itertools.count()


def new_app() -> Sanic[Any, Any]:
    """An application with a name that no other one has, and with a quiet log."""
    app: Sanic[Any, Any] = Sanic(f"of_tests_{next(_numbers)}", configure_logging=False)
    # It rewrites Sanic's own classes for one application, and cannot do so for the next one.
    app.config.TOUCHUP = False
    return app


class Server:
    """Sanic's own server for one application, in a thread with a loop."""

    def __init__(self, app: Sanic[Any, Any]) -> None:
        self._app = app
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: Any = None

    def start(self) -> None:
        """Serve; raises what keeps the server from it."""
        self._thread.start()
        try:
            self.run(self._start())
        except BaseException:
            self._end_loop()
            raise

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work that is done in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stop(self) -> None:
        """Stop it, and have its loop forget everything."""
        self.run(self._stop())
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await self._app.create_server(
            host="127.0.0.1", port=self.port, return_asyncio_server=True, access_log=False,
        )
        await self._server.startup()
        await self._server.before_start()
        await self._server.start_serving()
        await self._server.after_start()

    async def _stop(self) -> None:
        await self._server.before_stop()
        await self._server.close()
        for connection in list(self._server.connections):
            connection.abort()
        await self._server.after_stop()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # What a loop keeps for a node that others use further ends with the loop's generators.
        await asyncio.get_running_loop().shutdown_asyncgens()


@contextmanager
def served(app: Sanic[Any, Any]) -> Iterator[Server]:
    """Serve the application by Sanic's own server."""
    server = Server(app)
    server.start()
    try:
        yield server
    finally:
        server.stop()
