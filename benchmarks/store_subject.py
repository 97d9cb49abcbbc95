"""One application in a process of its own, which its requests are made in: a subject to compare.

    python -m benchmarks.store_subject FRAMEWORK

A question is a line of JSON on standard input, and so is its answer on standard output. Which
sessions the application has is in BENCH_SESSIONS, where Redis is in BENCH_REDIS_PORT.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

from benchmarks import http_apps
from benchmarks.nodes import BenchNode, bench_nodes, key
from benchmarks.overhead import Client, check
from clustersession.core.state import Change

ROOT = Path(__file__).parents[1]
FRAMEWORKS = ("ASGI", "Flask", "Django")


class Subject:
    """The end of whoever compares."""

    def __init__(self, framework: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.store_subject", framework], cwd=ROOT,
            env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, *arguments: Any) -> Any:
        """A question, and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([what, *arguments]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the subject ended, asked for {what}")
        return json.loads(line)

    def series(self, path: str, count: int) -> list[int]:
        """The nanoseconds of each of so many requests; sessions take turns."""
        taken: list[int] = self.ask("series", path, count)
        return taken

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def subjects(
    framework: str, kinds: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, Subject]]:
    """Subjects by name, which start side by side."""
    with ExitStack() as stack:
        found = {}
        for name, environment in kinds.items():
            found[name] = Subject(framework, environment)
            stack.callback(found[name].close)
        for subject in found.values():
            subject.ask("series", "/untouched", 20)
        yield found


class _Subject:
    """The subject itself. _cookies: of the sessions that it has."""

    def __init__(self, framework: str) -> None:
        self._loop = asyncio.new_event_loop() if framework == "ASGI" else None
        self._client = self._make_client(framework)
        self._cookies = [""]

    def _make_client(self, framework: str) -> Client:
        if self._loop is not None:
            from benchmarks.request import AsgiClient

            return AsgiClient(http_apps.make_asgi(), self._loop)
        from benchmarks.request_wsgi import WsgiClient

        make = http_apps.make_flask if framework == "Flask" else http_apps.make_django
        return WsgiClient(make())

    def fill(self, payload: int, count: int) -> int:
        """Have so many sessions."""
        self._cookies = [self._client.ask(f"/fill{payload}", "")[0] for _ in range(count)]
        if not all(self._cookies):
            raise RuntimeError("there was no cookie")
        return count

    def series(self, path: str, count: int) -> list[int]:
        """The nanoseconds of each of so many requests."""
        return self._client.series(path, self._cookies, count)

    def check(self, name: str) -> bool:
        """Read what was written."""
        check(name, self._client, self._cookies[0])
        return True

    def round_trips(self, size: int, count: int) -> list[int]:
        """The nanoseconds of each of so many SETs of a value of such a size."""
        if self._loop is not None:
            return self._loop.run_until_complete(self._round_trips_async(size, count))
        taken = []
        with redis.Redis(port=http_apps.REDIS_PORT) as client:
            for _ in range(count):
                started_ns = time.perf_counter_ns()
                client.set("plain", b"x" * size)
                taken.append(time.perf_counter_ns() - started_ns)
        return taken[1:]

    async def _round_trips_async(self, size: int, count: int) -> list[int]:
        taken = []
        async with redis.asyncio.Redis(port=http_apps.REDIS_PORT) as client:
            for _ in range(count):
                started_ns = time.perf_counter_ns()
                await client.set("plain", b"x" * size)
                taken.append(time.perf_counter_ns() - started_ns)
        return taken[1:]

    def commits(self, size: int, sessions: int, count: int) -> list[int]:
        """The nanoseconds of each of so many commits of one attribute to a replica of its own."""
        taken = []
        with bench_nodes(1) as (node,):
            now_ms = time.time_ns() // 1_000_000
            creation = BenchNode.creation(now_ms)
            for number in range(sessions):
                sets = {"rest": b"x" * size, "visits": b"0"}
                node.replica.commit([Change(key(number), now_ms, sets, creation=creation)], now_ms)
            for number in islice(cycle(range(sessions)), count):
                change = Change(key(number), now_ms, {"visits": b"%d" % time.perf_counter_ns()})
                started_ns = time.perf_counter_ns()
                node.replica.commit([change], now_ms)
                taken.append(time.perf_counter_ns() - started_ns)
        return taken


def main(framework: str) -> None:
    """Answer until nothing more is asked."""
    subject = _Subject(framework)
    answers: dict[str, Callable[..., Any]] = {
        "fill": subject.fill, "series": subject.series, "check": subject.check,
        "round_trips": subject.round_trips, "commits": subject.commits,
    }
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        print(json.dumps(answers[what](*arguments)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
