"""Opens a replica: in memory, or in a directory that all processes of the host share."""

import errno
import logging
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lmdb

from clustersession.core.errors import (
    OtherVersion,
    ReplicaError,
    ReplicaFull,
    ReplicaUnusable,
    WireError,
)
from clustersession.replica.engines.lmdb import directory as directories
from clustersession.replica.engines.lmdb.compaction import compact
from clustersession.replica.engines.lmdb.engine import DAMAGE, LmdbEngine, out_of_space
from clustersession.replica.engines.lmdb.inspection import is_whole
from clustersession.replica.engines.memory import MemoryEngine
from clustersession.replica.private_directory import HeldDirectory
from clustersession.replica.replica import Replica
from clustersession.replica.turns import TimedTurn, stand_back

logger = logging.getLogger("clustersession")


class _Reservation:
    """Holds the place of one replica in the table of what this process has open.

    pid: the process that reserved it; another one in the child of a fork. engine: None while the
    replica is being opened. claim: the descriptor that keeps other interpreters away; None until
    there is one.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.engine: LmdbEngine | None = None
        self.claim: int | None = None

    def release(self) -> None:
        """Let other interpreters of the process have the replica."""
        claim, self.claim = self.claim, None
        if claim is not None:
            os.close(claim)


# LMDB loses its locks when one process opens an environment twice. The table holds on to engines
# whose replica was dropped without closing it, so that a child of a fork finds them.
_open_here: dict[Path, _Reservation] = {}


class LmdbReplica(Replica):
    """Keeps its files in a directory. Not for use in a child of the process that opened it.

    set_aside: what stood in the directory before and could not be used; None for nothing.
    """

    def __init__(
        self,
        engine: LmdbEngine,
        new_node: Callable[[], bytes],
        *,
        clock_skew_ms_max: int,
        boot_id: str,
        aside: Path | None,
    ) -> None:
        super().__init__(
            engine, new_node, clock_skew_ms_max=clock_skew_ms_max,
            turn=TimedTurn, stand_back=stand_back,
        )
        self._lmdb = engine
        self._boot_id = boot_id
        self.set_aside = aside
        # What else is held as long as the replica is open.
        self.held: list[HeldDirectory] = []

    def reader_check(self) -> int:
        """Free what killed processes left behind; returns how many there were. For a timer."""
        return self._lmdb.reader_check()

    def mark_clean(self) -> bool:
        """Close and, when no other process has the replica open, let the next boot trust it.

        Brings everything to the disk, which may take long. Returns whether the mark was set.
        """
        with directories.exclusive_opening(self._lmdb.directory):
            try:
                last = self._lmdb.is_last_user()
                if last:
                    self._lmdb.sync()
                    self.close()
                    directories.note_clean(self._lmdb.directory, self._boot_id)
            except (OSError, ReplicaError):
                # On a full disk there is no mark; the next boot then refills from the peers.
                last = False
            self.close()
        return last

    def close(self) -> None:
        """Release the files; safe to call twice."""
        super().close()
        for held in self.held:
            held.close()
        reservation = _open_here.get(self._lmdb.directory)
        if reservation is not None and reservation.engine is self._lmdb:
            del _open_here[self._lmdb.directory]
            reservation.release()


def open_memory(node: bytes, *, clock_skew_ms_max: int) -> Replica:
    """Open an empty replica in memory, for one thread at a time."""
    return Replica(MemoryEngine(), lambda: node, clock_skew_ms_max=clock_skew_ms_max)


def open_lmdb(
    path: str | os.PathLike[str],
    *,
    new_node: Callable[[], bytes],
    map_bytes: int,
    clock_skew_ms_max: int,
    boot_id: str,
    mapped: bool = False,
) -> LmdbReplica:
    """Open the replica in a directory, which is made when there is none.

    ``map_bytes`` bounds the replica and must be the same in all processes. ``boot_id`` names this
    boot of the machine. ``mapped``: see ``LmdbEngine``. What is damaged, was open when the machine
    crashed, or has the layout of a later version, is set aside, named by ``set_aside`` of the
    replica returned, which then starts empty with a node id from ``new_node``. In a child of a fork
    this lets go of what the parent had open and opens it anew. Raises ReplicaUnusable, ReplicaFull.
    """
    # A link in its place is not followed: see make_private.
    directory = Path(os.path.realpath(Path(path).parent)) / Path(path).name
    opening = _Opening(directory, new_node, map_bytes, clock_skew_ms_max, boot_id, mapped)
    reservation = _reserve(directory)
    try:
        directories.prepare(directory)
        reservation.claim = directories.claim_for_interpreter(directory)
        with directories.exclusive_opening(directory):
            replica = opening.run()
    except BaseException as error:
        _open_here.pop(directory, None)
        reservation.release()
        if isinstance(error, lmdb.Error | OSError | WireError):
            raise _trouble(directory, map_bytes, error) from error
        raise
    reservation.engine = replica._lmdb
    return replica


@dataclass(frozen=True, slots=True)
class _Opening:
    """Opens a replica, while no other process does; for its fields see ``open_lmdb``."""

    directory: Path
    new_node: Callable[[], bytes]
    map_bytes: int
    clock_skew_ms_max: int
    boot_id: str
    mapped: bool

    def run(self) -> LmdbReplica:
        """Open what is there or, where that cannot be used, an empty one in its place."""
        aside: Path | None = None
        if why := self._why_to_set_aside():
            aside = self._set_aside(why)
        elif not directories.is_used(self.directory):
            self._compact()
        try:
            return self._open(aside)
        except OtherVersion as error:
            aside = self._set_newer_aside(error)
        except (*DAMAGE, WireError) as error:
            if directories.is_used(self.directory):
                raise
            aside = self._set_aside(f"is damaged ({error})")
        return self._open(aside)

    def _open(self, aside: Path | None) -> LmdbReplica:
        directories.note_open(self.directory, self.boot_id)
        is_first = not directories.is_used(self.directory)
        engine = LmdbEngine(self.directory, self.map_bytes, mapped=self.mapped)
        try:
            replica = LmdbReplica(
                engine, self.new_node, clock_skew_ms_max=self.clock_skew_ms_max,
                boot_id=self.boot_id, aside=aside,
            )
            if is_first:
                # On a full disk it can still be read.
                with suppress(ReplicaFull):
                    replica.note_opening()
            return replica
        except ReplicaError as error:
            engine.close()
            if isinstance(error.__cause__, DAMAGE):
                raise error.__cause__ from None
            raise
        except BaseException:
            engine.close()
            raise

    def _why_to_set_aside(self) -> str:
        """Say why what is there cannot be used; empty when it can.

        It is kept while others use it: were it taken away under them, it would be confirmed by an
        agent that knows nothing of what is written to the new one.
        """
        file = self.directory / directories.DATA_FILE
        if directories.is_used(self.directory):
            directories.refuse_removed(self.directory)
            return ""
        if not file.exists():
            return ""
        if not directories.is_trustworthy(self.directory, self.boot_id):
            return "is damaged or was open when the machine crashed"
        return "" if is_whole(file) else "is damaged"

    def _compact(self) -> None:
        if freed_bytes := compact(self.directory, self.boot_id):
            logger.info(
                "the replica in %s was written anew: %d MiB less", self.directory,
                freed_bytes // 2**20,
            )

    def _set_aside(self, why: str, label: str = "corrupt") -> Path:
        aside = directories.set_aside(self.directory, label)
        logger.warning(
            "the replica in %s %s; set aside as %s, starting empty", self.directory, why, aside.name
        )
        directories.prepare(self.directory)
        return aside

    def _set_newer_aside(self, error: OtherVersion) -> Path:
        """Keep what a later version wrote, as it is, for the day that version is back."""
        if directories.is_used(self.directory):
            # If it were taken away under them, their agent would confirm for a replica that nobody
            # reads.
            raise ReplicaUnusable(
                f"{error}, and processes of a newer version have {self.directory} open: stop them, "
                "the agent too, before an older version starts here"
            )
        directories.bring_to_disk(self.directory)
        directories.note_clean(self.directory, self.boot_id)
        return self._set_aside(f"is of a newer version ({error})", "newer")


def _trouble(directory: Path, map_bytes: int, error: Exception) -> ReplicaError:
    """Say what to raise for an error that kept a replica from being opened."""
    if out_of_space(error):
        return ReplicaFull(f"no space left to open the replica in {directory}")
    if os.strerror(errno.ENOMEM) in str(error):
        return ReplicaUnusable(
            f"the replica in {directory} cannot be mapped: map_bytes is {map_bytes}, and this "
            f"process {_address_space_left()}; set map_bytes lower, to the same value in all "
            "processes of the node, or raise the limit (ulimit -v, uWSGI's limit-as)"
        )
    if os.strerror(errno.EAGAIN) in str(error):
        # LMDB's table of readers goes by process ids, and holds a lock for each.
        return ReplicaUnusable(
            f"the replica in {directory} is open in a process with the same process id, "
            f"{os.getpid()}, as this one: containers that share a state directory must share "
            "their PID namespace too"
        )
    return ReplicaUnusable(f"the replica in {directory} cannot be opened: {error}")


def _address_space_left() -> str:
    """Say how much this process may still map; in whole MiB, because more than that is in flux."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        used = 0
    if limit == resource.RLIM_INFINITY:
        return "got no more address space from the system"
    return f"may map {max(limit - used, 0) // 2**20 * 2**20} bytes more"


def _reserve(directory: Path) -> _Reservation:
    mine = _Reservation()
    held = _open_here.setdefault(directory, mine)
    if held is not mine and held.pid != mine.pid:
        if held.engine is not None:
            held.engine.abandon()
        held.release()
        _open_here[directory] = held = mine
    if held is not mine:
        raise ReplicaUnusable(f"the replica in {directory} is already open in this process")
    return mine
