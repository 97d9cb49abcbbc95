"""Replicas on disk, and processes that work on them."""

import subprocess
import sys
from pathlib import Path

from clustersession.replica.opening import LmdbReplica, open_lmdb
from tests.replica.replica_checks import NODE_A, SKEW_MS, WALL_MS, creation

WORKER = ("-m", "tests.replica.replica_worker")


def opened(
    path: Path, *, node: bytes = NODE_A, map_bytes: int = 2**28, boot_id: str = "boot"
) -> LmdbReplica:
    return open_lmdb(
        path, new_node=lambda: node, map_bytes=map_bytes, clock_skew_ms_max=SKEW_MS,
        boot_id=boot_id,
    )


def start(what: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", *WORKER, what, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def finish(process: "subprocess.Popen[str]") -> None:
    output, _ = process.communicate(timeout=40)
    assert process.returncode == 0, output


def with_one_session(path: Path) -> None:
    replica = opened(path)
    replica.commit([creation(1, {"a": b"1"})], WALL_MS)
    replica.close()
