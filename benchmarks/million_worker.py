"""The worker of ``benchmarks.store_million``: opens sessions by number, as requests do.

    python -m benchmarks.million_worker

Each line of its input is JSON: from which number, how many, how many at a time, and how many a
second at most (0: as fast as it goes). Each is answered by a line: how long requests took, in
milliseconds, how many found no session, and how many had none in time (``fetch_timeout_s``).
Settings come from the environment.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.nodes import p50_p99_max
from benchmarks.progress import Progress
from clustersession.asgi import ClusterSessionMiddleware
from clustersession.session.token import IdSigner, id_signer
from clustersession.worker.runtime import Runtime

COOKIE_NAME = "CLUSTERSESSION"


def identifier(signer: IdSigner, number: int) -> str:
    """The id of one of the sessions."""
    return signer.derive(f"session {number}")


async def _application(scope: Any, receive: Any, send: Any) -> None:
    found = scope["session"].get("user") == scope["number"]
    await send({"type": "http.response.start", "status": 200 if found else 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Walk:
    """Requests for one session after the other."""

    def __init__(self, app: Any, signer: IdSigner, fetch_timeout_s: float) -> None:
        self._app = app
        self._late_s = fetch_timeout_s
        self._signer = signer

    async def run(self, first: int, count: int, at_once: int, per_s: float) -> dict[str, Any]:
        """So many of them."""
        self.taken_ms: list[float] = []
        self.lost = self.late = 0
        self._began_s = time.perf_counter()
        self._progress = Progress("sessions opened")
        numbers = iter(range(first, first + count))
        await asyncio.gather(*(self._some(numbers, first, per_s) for _ in range(at_once)))
        took_s = time.perf_counter() - self._began_s
        p50, p99, most = p50_p99_max(self.taken_ms)
        return {
            "p50_ms": p50, "p99_ms": p99, "max_ms": most, "lost": self.lost, "late": self.late,
            "per_s": count / took_s,
        }

    async def _some(self, numbers: Iterator[int], first: int, per_s: float) -> None:
        for number in numbers:
            due_s = self._began_s + (number - first) / per_s if per_s else 0.0
            # Without a pause too: a server reads and writes sockets between two requests.
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            await self._request(number)
            self._progress.tell(f"{number - first + 1:,}")

    async def _request(self, number: int) -> None:
        cookie = f"{COOKIE_NAME}={identifier(self._signer, number)}".encode()
        scope = {
            "type": "http", "method": "GET", "path": "/", "number": number,
            "headers": [(b"host", b"localhost"), (b"cookie", cookie)],
        }
        statuses: list[int] = []

        async def send(message: dict[str, Any]) -> None:
            statuses.append(message.get("status", 0))

        began_s = time.perf_counter()
        await self._app(scope, _receive, send)
        took_s = time.perf_counter() - began_s
        self.taken_ms.append(took_s * 1000)
        if statuses[0] != 200:
            self.late += took_s >= self._late_s
            self.lost += took_s < self._late_s


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def main() -> None:
    """Do what the lines of the input say."""
    runtime = Runtime.from_options({})
    settings = runtime.settings
    walk = Walk(
        ClusterSessionMiddleware(_application, runtime=runtime),
        id_signer(settings.secret, settings.cluster_name), settings.fetch_timeout_s,
    )
    runtime.start()
    loop = asyncio.new_event_loop()
    print(os.getpid(), flush=True)
    for line in sys.stdin:
        print(json.dumps(loop.run_until_complete(walk.run(*json.loads(line)))), flush=True)
    runtime.close()
    loop.close()


if __name__ == "__main__":
    main()
