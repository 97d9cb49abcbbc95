"""Names a node's files and opens its replica."""

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clustersession.core.identity import NODE_ID_BYTES
from clustersession.replica.engines.lmdb.directory import refuse_removed
from clustersession.replica.opening import LmdbReplica, open_lmdb
from clustersession.replica.private_directory import HeldDirectory
from clustersession.settings.settings import Settings

NAME_DIGITS = 12
SECRET_FILE_SUFFIX = ".id-secret"
"""Ends the name of a file, beside the nodes' directories, with a random secret of the user."""


@dataclass(frozen=True, slots=True)
class NodeHome:
    """Names the files of a node, in a directory private to its owner.

    The directory's name says the cluster's name, the route, and which secret the node began with:
    ``<cluster name>.<route>.<12 hexadecimal digits>``.
    """

    directory: Path

    @property
    def replica(self) -> Path:
        """Return the LMDB environment."""
        return self.directory / "replica"

    @property
    def journal(self) -> Path:
        """Return the directory of the journal."""
        return self.directory / "journal"

    @property
    def journal_lock(self) -> Path:
        """Return what the process has locked that keeps the journal of a node without an agent."""
        return self.directory / "journal.lock"

    @property
    def known_secrets(self) -> Path:
        """Return the file with digests of the secrets that the node has had."""
        return self.directory / "known-secrets"

    @property
    def agent_lock(self) -> Path:
        """Return the file with the agent's process id; the lock is on the directory."""
        return self.directory / "agent.lock"

    @property
    def agent_socket(self) -> Path:
        """Return where workers and the command line reach the agent."""
        return self.directory / "agent.sock"

    @property
    def agent_log(self) -> Path:
        """Return what an agent started by a worker logs."""
        return self.directory / "agent.log"


def parse_name(directory: Path) -> tuple[str, str]:
    """Return cluster name and route of a node's directory; both empty when it is none."""
    found = re.fullmatch(rf"(.+)\.(\w+)\.[0-9a-f]{{{NAME_DIGITS}}}", directory.name, re.ASCII)
    return (found[1], found[2]) if found else ("", "")


def open_node_replica(
    home: NodeHome, settings: Settings, *, mapped: bool = False
) -> LmdbReplica:
    """Open the node's replica in this process. Raises ReplicaUnusable, ReplicaFull.

    ``mapped``: for a process of small transactions, as a worker is, see ``LmdbEngine``.
    """
    replica = open_lmdb(
        home.replica,
        new_node=lambda: secrets.token_bytes(NODE_ID_BYTES),
        map_bytes=settings.map_bytes,
        clock_skew_ms_max=settings.stamp_lead_ms_max,
        boot_id=boot_id(),
        mapped=mapped,
    )
    base = home.directory.parent
    with suppress(OSError):
        found = base.stat()
        # What several nodes of the user share lies beside their directories. Where others write
        # too, such as /tmp itself, what becomes old is not for us to keep.
        if found.st_uid == os.geteuid() and not found.st_mode & 0o022:
            replica.held.append(HeldDirectory(base))
    return replica


def keep_files(home: NodeHome) -> None:
    """Give all files of an open node the present time, so that no cleaner takes them for old.

    A memory map that is written to does not change its file's time. Raises ReplicaUnusable when
    files of the replica are gone already.
    """
    with suppress(OSError):
        for path in (home.directory, *home.directory.rglob("*")):
            with suppress(OSError):
                os.utime(path, follow_symlinks=False)
        for path in home.directory.parent.glob(f"*{SECRET_FILE_SUFFIX}"):
            with suppress(OSError):
                os.utime(path, follow_symlinks=False)
    refuse_removed(home.replica)


def boot_id() -> str:
    """Return what changes when the machine restarts; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
