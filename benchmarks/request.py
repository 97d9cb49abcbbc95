"""What a session costs an ASGI request, beside a signed cookie and sessions in Redis.

    python -m benchmarks request [--small]

Ours stand-alone, and as one of two nodes: there with nobody waiting for the other node, and with
each write confirmed by it.
"""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from starlette.middleware.sessions import SessionMiddleware
from starsessions import SessionAutoloadMiddleware
from starsessions import SessionMiddleware as StarSessionMiddleware
from starsessions.stores.redis import RedisStore

from benchmarks.nodes import BenchNode, bench_nodes, wait_until
from benchmarks.overhead import Client, act, check, measure, redis_server, result_of
from benchmarks.result import Result, Target
from clustersession.asgi import ClusterSessionMiddleware
from clustersession.core.ids import KEY_LENGTH
from clustersession.wire.values import decode_value
from clustersession.worker.runtime import Runtime

App = Callable[[Any, Any, Any], Awaitable[None]]
SIGNED, REDIS = "signed cookie", "starsessions + Redis"


async def bare(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Do what the path says with the session, if there is one, and answer."""
    path = scope["path"]
    body = b"ok" if path == "/untouched" else act(path, scope["session"]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class AsgiClient:
    """Calls an ASGI application in a loop of its own."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop

    def ask(self, path: str, cookie: str) -> tuple[str, str]:
        """One request."""
        messages: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        self._loop.run_until_complete(self._app(_scope(path, cookie), _receive, send))
        headers = dict(messages[0]["headers"])
        set_cookie = headers.get(b"set-cookie", b"").decode().partition(";")[0]
        return set_cookie or cookie, messages[1]["body"].decode()

    def series(self, path: str, cookies: Sequence[str], count: int) -> list[int]:
        """The nanoseconds of each of so many requests, whose cookies take turns."""
        return self._loop.run_until_complete(self._series(path, cookies, count))

    async def _series(self, path: str, cookies: Sequence[str], count: int) -> list[int]:
        async def send(message: dict[str, Any]) -> None:
            pass

        app, taken = self._app, []
        for cookie in islice(cycle(cookies), count):
            scope = _scope(path, cookie)
            started_ns = time.perf_counter_ns()
            await app(scope, _receive, send)
            taken.append(time.perf_counter_ns() - started_ns)
        return taken


def _scope(path: str, cookie: str) -> dict[str, Any]:
    headers = [(b"host", b"localhost")] + ([(b"cookie", cookie.encode())] if cookie else [])
    return {"type": "http", "method": "GET", "path": path, "headers": headers}


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


@contextmanager
def two_nodes() -> Iterator[tuple[BenchNode, BenchNode]]:
    """The first for the application, its replica not open here; the second a running peer."""
    with bench_nodes(2, ack="one") as (first, second):
        first.replica.close()
        for node in (first, second):
            node.start_agent()
        second.attach()
        wait_until(lambda: second.is_ready(1), "both nodes")
        yield first, second


def run(small: bool) -> Result:
    """Everything in one process, and the agents and Redis beside it."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)
        port = stack.enter_context(redis_server(directory))
        first, second = stack.enter_context(two_nodes())
        runtimes = {
            "ours": Runtime.from_options({"state_dir": str(directory), "route": "alone"}),
            "ours, ack none": Runtime(replace(first.settings, ack="none")),
            "ours, ack one": Runtime(first.settings),
        }
        apps: dict[str, App] = {
            name: ClusterSessionMiddleware(bare, runtime=runtime)
            for name, runtime in runtimes.items()
        }
        for runtime in runtimes.values():
            stack.callback(runtime.close)
        apps[SIGNED] = SessionMiddleware(bare, secrets.token_hex())
        store = RedisStore(f"redis://127.0.0.1:{port}")
        apps[REDIS] = StarSessionMiddleware(
            SessionAutoloadMiddleware(bare), store=store, lifetime=3600, cookie_https_only=False
        )
        clients: dict[str, Client] = {name: AsgiClient(app, loop) for name, app in apps.items()}
        runtimes["ours, ack one"].start()
        found = measure(clients, AsgiClient(bare, loop), small)
        result = result_of("ASGI request path", found)
        for name in ("ours, ack none", "ours, ack one"):
            _check_peer(name, clients[name], second)
        loop.run_until_complete(store._connection.aclose())
    medians = {key: {name: row[name][0] for name in row} for key, row in found.items()}
    result.targets = _targets(medians)
    return result


def _check_peer(name: str, client: Client, peer: BenchNode) -> None:
    cookie = check(name, client, client.ask("/fill0", "")[0])
    _, value = client.ask("/visits", cookie)
    key = cookie.partition("=")[2][:KEY_LENGTH]

    def there() -> bool:
        state = peer.replica.get(key)
        data = None if state is None else state.registers["visits"].value
        return data is not None and str(decode_value(data)) == value

    wait_until(there, f"the other node to have what {name} wrote", 10)


def _targets(found: dict[tuple[str, str], dict[str, float]]) -> list[Target]:
    def ratio(payload: str, action: str, ours: str, other: str) -> float:
        row = found[payload, action]
        return row[ours] / row[other]

    none = "ours, ack none"
    return [
        Target("read, over the signed cookie", ratio("3 keys", "read", none, SIGNED), 0.5),
        Target("read, over starsessions", ratio("3 keys", "read", none, REDIS), 0.05),
        Target("write, over the signed cookie", ratio("3 keys", "write", none, SIGNED), 1.0),
        Target("write, over starsessions", ratio("3 keys", "write", none, REDIS), 0.12),
        Target("write 10 KiB, over the cookie", ratio("10 KiB", "write", none, SIGNED), 0.2),
        Target("untouched", found["3 keys", "untouched"][none], 3.0, unit="us"),
        Target(
            "what ack one adds, median",
            found["3 keys", "write"]["ours, ack one"] - found["3 keys", "write"][none],
            500, unit="us",
        ),
    ]
