"""A node in processes of its own, beside one in the test's process, so that it can be killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clustersession.worker.runtime import Runtime
from tests.support.processes import free_port, kill_node

_WORKER = """
import sys
from clustersession.worker.runtime import Runtime

runtime = Runtime.from_options({})
runtime.start()
print("up", flush=True)
sys.stdin.read()
runtime.close()
"""


class NodeProcess:
    """A worker, and the agent that it starts. It joins the cluster of ``beside``."""

    def __init__(self, route: str, state_dir: Path, beside: Runtime) -> None:
        settings = beside.settings
        self._state_dir = state_dir
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("CLUSTERSESSION_")},
            "CLUSTERSESSION_DISTRIBUTABLE": "true", "CLUSTERSESSION_ROUTE": route,
            "CLUSTERSESSION_STATE_DIR": str(state_dir), "CLUSTERSESSION_BIND": "127.0.0.1",
            "CLUSTERSESSION_MULTICAST_ADDRESS": "", "CLUSTERSESSION_PORT": str(free_port()),
            "CLUSTERSESSION_PORT_RANGE": "1", "CLUSTERSESSION_SECRET": settings.secret[0],
            "CLUSTERSESSION_SEEDS": f"127.0.0.1:{settings.port}",
        }
        self._worker: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again, with the replica that it had."""
        self._worker = subprocess.Popen(
            [sys.executable, "-c", _WORKER], env=self._environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        assert self._worker.stdout is not None
        assert self._worker.stdout.readline() == b"up\n"

    def kill(self) -> None:
        """kill -9 both; nothing of it is left."""
        kill_node(self._state_dir)
        if self._worker is not None:
            self._worker.communicate()


@contextmanager
def node_process(route: str, state_dir: Path, beside: Runtime) -> Iterator[NodeProcess]:
    """One that runs."""
    node = NodeProcess(route, state_dir, beside)
    try:
        node.start()
        yield node
    finally:
        node.kill()
