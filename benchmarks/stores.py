"""A Valkey or Redis for the benchmarks of the store mode, and nodes that keep their sessions in it.

One server is there for us and for what we are compared with. Which one is in BENCH_SERVER.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.nodes import BenchNode, bench_nodes, wait_until
from clustersession.tools.demo.processes import free_port
from tests.store.servers import SERVERS, Server, command, running

SERVER = "BENCH_SERVER"
SETTLE_S = 60.0


@contextmanager
def store_server() -> Iterator[Server]:
    """A server on a port of its own, without persistence."""
    kind = os.environ.get(SERVER, SERVERS[0])
    program = command(kind)
    if program is None:
        raise SystemExit(f"{kind}-server is not installed")
    # In memory where there is such a place: a disk's fsync would be all that a database shows.
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory("", "bench-", place) as directory:
        options = ("--bind", "127.0.0.1")
        with running(program, Path(directory), *options, port=free_port()) as server:
            yield server


@contextmanager
def store_nodes(server: Server, count: int, **settings: Any) -> Iterator[list[BenchNode]]:
    """Nodes with the store, whose agents run and have compared what they hold."""
    url = f"redis://127.0.0.1:{server.port}"
    with bench_nodes(count, store=url, **settings) as nodes:
        for node in nodes:
            node.start_agent()
        for node in nodes:
            wait_until(lambda n=node: n.is_ready(count - 1), f"{count} nodes with a store")
        yield nodes


def settle(node: BenchNode) -> None:
    """Wait until the store, or every peer, holds what workers have told the agent of."""
    # In an event loop they tell it a millisecond later.
    time.sleep(0.005)
    wait_until(lambda: not _behind(node.status()), "the node's feed to arrive", SETTLE_S)


def _behind(status: dict[str, Any]) -> int:
    store = status.get("store")
    if store is not None:
        return int(store["behind"])
    return sum(member["behind_us"] or 0 for member in status["members"])
