"""Names a node's files and opens its replica."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from clustersession.core.identity import NODE_ID_BYTES
from clustersession.replica.opening import LmdbReplica, open_lmdb
from clustersession.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class NodeHome:
    """Names the files of one (cluster name, route), in a directory private to its owner."""

    directory: Path

    @property
    def replica(self) -> Path:
        """Return the LMDB environment."""
        return self.directory / "replica"

    @property
    def agent_lock(self) -> Path:
        """Return the file whose lock makes its holder the node's agent."""
        return self.directory / "agent.lock"

    @property
    def agent_socket(self) -> Path:
        """Return where workers and the command line reach the agent."""
        return self.directory / "agent.sock"

    @property
    def agent_log(self) -> Path:
        """Return what an agent started by a worker logs."""
        return self.directory / "agent.log"


def open_node_replica(home: NodeHome, settings: Settings) -> LmdbReplica:
    """Open the node's replica in this process. Raises ReplicaUnusable, ReplicaFull."""
    return open_lmdb(
        home.replica,
        new_node=lambda: secrets.token_bytes(NODE_ID_BYTES),
        map_bytes=settings.map_bytes,
        clock_skew_ms_max=settings.stamp_lead_ms_max,
        boot_id=boot_id(),
    )


def boot_id() -> str:
    """Return what changes when the machine restarts; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
