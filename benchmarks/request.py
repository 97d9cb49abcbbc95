"""What a session costs a request: microseconds over the bare application, next to signed cookies.

    python -m benchmarks.request [small]

The application is called directly, without a server. Both middlewares run in the same rounds, in
turn, and the middle round counts.
"""

import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from starlette.middleware.sessions import SessionMiddleware

from benchmarks.result import Chart, Result, Table, as_text
from clustersession.asgi import ClusterSessionMiddleware

ROUNDS = 7
PATHS = ("/untouched", "/read", "/write")
DATA = {"user": "ann", "visits": 3, "cart": ["tea", "cake"]}
App = Callable[[Any, Any, Any], Awaitable[None]]


async def bare(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Do what the path says with the session, if there is one, and answer."""
    path = scope["path"]
    if path == "/read":
        scope["session"].get("user")
    elif path == "/write":
        scope["session"]["visits"] = next(counter)
    elif path == "/fill":
        scope["session"].update(DATA)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


counter = iter(range(10**9))


async def call(app: App, path: str, cookie: bytes = b"") -> list[tuple[bytes, bytes]]:
    """One request; returns the response headers."""
    headers = [(b"host", b"localhost")] + ([(b"cookie", cookie)] if cookie else [])
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
    found: list[tuple[bytes, bytes]] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            found.extend(message["headers"])

    await app(scope, None, send)
    return found


async def timed(app: App, path: str, cookie: bytes, count: int) -> float:
    """Microseconds per request."""
    started_s = time.perf_counter()
    for _ in range(count):
        await call(app, path, cookie)
    return (time.perf_counter() - started_s) / count * 1e6


async def measure(count: int, directory: str) -> Result:
    """Ours and Starlette's in turn, for each kind of request."""
    ours = ClusterSessionMiddleware(bare, state_dir=directory, route="bench")
    apps = {"clustersession": ours, "signed cookie": SessionMiddleware(bare, secrets.token_hex())}
    cookies = {}
    for name, app in apps.items():
        headers = dict(await call(app, "/fill"))
        cookies[name] = headers[b"set-cookie"].partition(b";")[0]
    rows, names = [], list(apps)
    for path in PATHS:
        taken: dict[str, list[float]] = {name: [] for name in apps}
        for _ in range(ROUNDS):
            base = await timed(bare, "/untouched", b"", count)
            for name, app in apps.items():
                taken[name].append(await timed(app, path, cookies[name], count) - base)
        figures = {name: median(values) for name, values in taken.items()}
        rows.append((path[1:], *figures.values(), figures[names[0]] / figures[names[1]]))
    ours.runtime.close()
    table = Table("microseconds over the bare application", ("", *names, "ratio"), rows)
    chart = Chart(
        "What a session costs an ASGI request", "microseconds", [path[1:] for path in PATHS],
        {name: [row[number] for row in rows] for number, name in enumerate(names, 1)},
    )
    return Result("Request path", [table], charts=[chart])


def run(small: bool) -> Result:
    """In a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="clustersession-bench-") as directory:
        return asyncio.run(measure(1000 if small else 3000, directory))


if __name__ == "__main__":
    print(as_text(run(small="small" in sys.argv)))
