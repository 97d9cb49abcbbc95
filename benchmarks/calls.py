"""Python calls and modules that a read and an acknowledged write pass through.

    python -m benchmarks.calls [REQUESTS]

Two nodes in one process, each with its agent as a thread, on loopback. The interpreter's profiler
counts the calls of functions of this package in each thread while one request is served: the
worker's, the agent's that sends, the agent's that receives. Counts are the median over REQUESTS
requests (default 41), so that a heartbeat that falls into one does not matter. The machine's load
does not matter either, which is why structure is judged by this and not by time.
"""

import asyncio
import statistics
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import MutableMapping
from pathlib import Path
from types import FrameType
from typing import Any

import clustersession
from clustersession.asgi import ClusterSessionMiddleware

PACKAGE = str(Path(clustersession.__file__).parent)
SETTLE_S = 0.02
"""What an agent still does for a write after the answer."""

_calls: defaultdict[int, list[str]] = defaultdict(list)
_counting = False


def _profile(frame: FrameType, event: str, _: object) -> None:
    if _counting and event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
        _calls[threading.get_ident()].append(frame.f_code.co_filename)


async def _app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    session = scope["session"]
    if scope["path"] == "/write":
        session["n"] = session.get("n", 0) + 1
    else:
        session.get("n")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _request(app: Any, path: str, cookie: str) -> str:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"cookie", cookie.encode())] if cookie else []
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
    await app(scope, receive, send)
    for name, value in sent[0]["headers"]:
        if name == b"set-cookie":
            return str(value.decode().partition(";")[0])
    return cookie


def _node(route: str, port: int, seed: int, directory: str) -> ClusterSessionMiddleware:
    return ClusterSessionMiddleware(
        _app, distributable=True, agent="thread", bind="127.0.0.1", multicast_address="",
        port=port, port_range=1, seeds=(f"127.0.0.1:{seed}",), state_dir=directory, route=route,
        secret="s" * 32, cluster_name="calls",
    )


def _newest_agent(known: set[int]) -> int:
    found = {
        t.ident for t in threading.enumerate() if t.name == "clustersession-agent" and t.ident
    }
    return (found - known).pop()


async def _counted(app: Any, path: str, cookie: str) -> dict[int, list[str]]:
    global _counting
    _calls.clear()
    _counting = True
    await _request(app, path, cookie)
    worker = {threading.get_ident(): _calls.pop(threading.get_ident(), [])}
    await asyncio.sleep(SETTLE_S)
    _counting = False
    return {**_calls, **worker}


async def measure(requests: int) -> dict[str, tuple[int, int, frozenset[str]]]:
    """Per kind of request and thread: the median of calls, that of modules, and the modules."""
    threading.setprofile(_profile)
    sys.setprofile(_profile)
    with tempfile.TemporaryDirectory() as directory:
        first = _node("one", 24101, 24102, directory)
        first.runtime.start()
        sender = _newest_agent(set())
        second = _node("two", 24102, 24101, directory)
        second.runtime.start()
        receiver = _newest_agent({sender})
        names = {threading.get_ident(): "worker", sender: "sender", receiver: "receiver"}
        cookie = await _request(first, "/write", "")
        for _ in range(100):
            await _request(first, "/write", cookie)
            await asyncio.sleep(SETTLE_S)
        found: dict[str, tuple[int, int, frozenset[str]]] = {}
        for path in ("/read", "/write"):
            rows: defaultdict[str, list[list[str]]] = defaultdict(list)
            for _ in range(requests):
                counted = await _counted(first, path, cookie)
                for ident, name in names.items():
                    rows[name].append(counted.get(ident, []))
            for name, each in rows.items():
                middle = sorted(each, key=len)[len(each) // 2]
                modules = statistics.median_low(len(set(calls)) for calls in each)
                found[f"{path[1:]} {name}"] = (len(middle), modules, frozenset(middle))
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
        second.runtime.close()
        first.runtime.close()
    return found


def main() -> None:
    """Print one line per kind of request and thread, and the sum of the write."""
    found = asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 41))
    for name, (calls, modules, _) in found.items():
        print(f"{name:<16} {calls:>4} calls in {modules:>3} modules")
    write = [row for name, row in found.items() if name.startswith("write")]
    modules = len(frozenset().union(*(names for _, _, names in write)))
    calls = sum(calls for calls, _, _ in write)
    print(f"{'write, all':<16} {calls:>4} calls in {modules:>3} modules")


if __name__ == "__main__":
    main()
