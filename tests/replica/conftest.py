"""Both engines under one name, and what a test needs to look behind the contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession.replica.engines.contract import StorageEngine
from clustersession.replica.engines.lmdb.engine import LmdbEngine
from clustersession.replica.engines.memory import MemoryEngine
from clustersession.replica.opening import open_lmdb, open_memory
from clustersession.replica.replica import Replica
from tests.replica.replica_checks import SKEW_MS, Open

ENGINES = ["memory", "lmdb"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageEngine]:
    made: StorageEngine = (
        MemoryEngine() if request.param == "memory" else LmdbEngine(tmp_path, 2**26)
    )
    yield made
    made.close()


@pytest.fixture(params=ENGINES)
def open_replica(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    opened: list[Replica] = []

    def open_one(node: bytes) -> Replica:
        if request.param == "memory":
            replica = open_memory(node, clock_skew_ms_max=SKEW_MS)
        else:
            replica = open_lmdb(
                tmp_path / f"replica-{len(opened)}", new_node=lambda: node, map_bytes=2**28,
                clock_skew_ms_max=SKEW_MS, boot_id="boot",
            )
        opened.append(replica)
        return replica

    yield open_one
    for replica in opened:
        replica.close()


@pytest.fixture
def replica(open_replica: Open) -> Replica:
    return open_replica(b"node-aaa")
