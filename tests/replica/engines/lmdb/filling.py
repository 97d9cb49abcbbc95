"""Replicas on a disk that is nearly full."""

import time
from pathlib import Path

from clustersession.core.errors import ReplicaFull
from clustersession.core.state import PRINCIPAL
from clustersession.replica.opening import LmdbReplica, open_lmdb
from clustersession.replica.replica import Replica
from tests.replica.replica_checks import NODE_A, SKEW_MS, WALL_MS, creation

USER = {PRINCIPAL: b"ann"}


def opened(path: Path, map_bytes: int, *, mapped: bool = False) -> LmdbReplica:
    return open_lmdb(
        path, new_node=lambda: NODE_A, map_bytes=map_bytes, clock_skew_ms_max=SKEW_MS,
        boot_id="boot", mapped=mapped,
    )


def filled(replica: Replica, number: int = 0) -> int:
    """Create sessions until one is refused; returns how many there are."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            replica.commit([creation(number, {"v": bytes(2000), **USER})], WALL_MS)
        except ReplicaFull:
            return number
        number += 1
    raise AssertionError("it is never full")
