"""The three modes that an application may run in, for the tests of adapters.

All is said by the environment, as an operator would, so the application is the same in each. With
peers there is another node in this process, with a store a server for all tests of the process, in
which each test is a cluster of its own. Agents are threads: everything else of them is real.
"""

import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from secrets import token_hex

from clustersession.worker.runtime import Runtime
from tests.store.servers import Server, required, running
from tests.support.processes import free_port

MODES = ("alone", "peers", "store")
SECRET = "the same for all nodes of this test, and random: 9Qv2hZ7tLx"
_cleanup = ExitStack()


@cache
def store_of_this_process() -> Server:
    """A server that runs until ``close``."""
    directory = _cleanup.enter_context(tempfile.TemporaryDirectory(prefix="store-"))
    return _cleanup.enter_context(running(required("redis"), Path(directory)))


def close_spares() -> None:
    """End what was started for the next tests: what comes first may close every node of a process.
    """
    while _spare:
        _spare.pop().cleanup.close()


def close() -> None:
    """End what was started for all tests."""
    close_spares()
    _cleanup.close()
    store_of_this_process.cache_clear()


@contextmanager
def environment_of(mode: str) -> Iterator[dict[str, str]]:
    """The settings of a mode.

    At the end it is seen that the mode was what it says: a peer or the store has sessions too.
    """
    of_a_cluster = {
        "CLUSTERSESSION_DISTRIBUTABLE": "true", "CLUSTERSESSION_AGENT": "thread",
        "CLUSTERSESSION_BIND": "127.0.0.1", "CLUSTERSESSION_SECRET": SECRET,
        "CLUSTERSESSION_CLUSTER_NAME": f"test-{token_hex(6)}",
    }
    if mode == "peers":
        with _with_a_peer(of_a_cluster) as environment:
            yield environment
    elif mode == "store":
        store = store_of_this_process()
        yield {
            **of_a_cluster, "CLUSTERSESSION_STORE": store.url,
            "CLUSTERSESSION_NEAR_CACHE_BYTES_MAX": str(2**25),
        }
        name = of_a_cluster["CLUSTERSESSION_CLUSTER_NAME"]
        assert list(store.admin.scan_iter(f"clustersession:{name}:s:*")), "nothing is in the store"
    else:
        yield {}


@dataclass(frozen=True, slots=True)
class _Peer:
    """A node in a cluster of that name, on a port; ``cleanup`` ends it."""

    runtime: Runtime
    cluster_name: str
    port: int
    cleanup: ExitStack


_SPARE_PEERS = 5
_spare: deque[_Peer] = deque()
"""Those of the next tests: one that starts looks for others before it confirms a write."""


def _start_peer() -> _Peer:
    cleanup = ExitStack()
    directory = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="peer-"))
    name, port = f"test-{token_hex(6)}", free_port()
    runtime = Runtime.from_options({
        "distributable": True, "agent": "thread", "bind": "127.0.0.1", "secret": SECRET,
        "cluster_name": name, "multicast_address": "", "port": port, "port_range": 1,
        "route": "peer", "state_dir": directory, "map_bytes": 2**26, "store": "", "seeds": (),
    })
    cleanup.callback(runtime.close)
    runtime.start()
    return _Peer(runtime, name, port, cleanup)


@contextmanager
def _with_a_peer(of_a_cluster: dict[str, str]) -> Iterator[dict[str, str]]:
    while len(_spare) <= _SPARE_PEERS:
        _spare.append(_start_peer())
    peer = _spare.popleft()
    with peer.cleanup:
        yield {
            **of_a_cluster, "CLUSTERSESSION_CLUSTER_NAME": peer.cluster_name,
            "CLUSTERSESSION_MULTICAST_ADDRESS": "",
            "CLUSTERSESSION_SEEDS": f"127.0.0.1:{peer.port}",
            "CLUSTERSESSION_PORT": str(free_port()), "CLUSTERSESSION_PORT_RANGE": "1",
        }
        assert peer.runtime.manager().replica.keys("", 1), "nothing is on the peer"
