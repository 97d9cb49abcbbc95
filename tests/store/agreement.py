"""Tries random histories on a server, and on every kind of server that is here."""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from clustersession.store.library import source
from tests.store.servers import SERVERS, command, serving

COUNT = 20_000

Compare = Callable[["redis.Redis", int], None]


def agree(
    client: "redis.Redis", histories: SearchStrategy[Any],
    disagreement: Callable[[Any], str], count: int,
) -> None:
    """Try so many histories. Raises AssertionError with the shortest that differs."""
    client.function_load(source(), replace=True)

    @settings(
        max_examples=count, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(histories)
    def agrees(history: Any) -> None:
        found = disagreement(history)
        assert not found, found

    agrees()


def try_everywhere(what: str, compare: Compare) -> int:
    """Be a program that tries many; its argument is how many."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    for kind in SERVERS:
        program = command(kind)
        if program is None:
            print(f"{kind} is not installed")
            return 1
        with tempfile.TemporaryDirectory() as name, serving(program, Path(name)) as client:
            info: Any = client.info("server")
            version = info.get("valkey_version") or info["redis_version"]
            began_s = time.monotonic()
            compare(client, count)
            print(f"{kind} {version}: {count} {what}, {time.monotonic() - began_s:.0f} s, equal")
    return 0
