"""Writes a replica's file anew without what is free in it, while nobody has it open.

LMDB uses free pages again and gives none back, so a file stays as large as it once was, and its
pages lie apart. A copy that fails, or that is cut off by a kill, leaves the file as it was.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import lmdb

from clustersession.core.errors import ReplicaUnusable
from clustersession.replica.engines.lmdb import directory as directories
from clustersession.replica.engines.lmdb.inspection import end_of
from clustersession.replica.private_directory import make_private
from clustersession.replica.tables import TABLE_NAMES

FREE_BYTES_MIN = 64 * 2**20
"""Less is not worth the time, about a second for a GiB that is in use."""


def compact(directory: Path, boot_id: str) -> int:
    """Write the file anew if more than half of it, and FREE_BYTES_MIN, is free.

    To be called where opening is excluded, nobody uses the replica and its file is whole. Returns
    how many bytes the file has become smaller by; 0: it is as it was.
    """
    fresh = directory.with_name(f"{directory.name}.compacting")
    # What a kill has left.
    shutil.rmtree(fresh, ignore_errors=True)
    file = directory / directories.DATA_FILE
    end_bytes = end_of(file) or 0
    if end_bytes < FREE_BYTES_MIN:
        return 0
    try:
        with lmdb.open(
            os.fspath(directory), readonly=True, lock=False, max_dbs=len(TABLE_NAMES)
        ) as environment:
            used_bytes = _used_bytes(environment)
            if end_bytes - used_bytes < max(FREE_BYTES_MIN, end_bytes / 2):
                return 0
            if shutil.disk_usage(directory).free < 2 * used_bytes:
                return 0
            make_private(fresh)
            environment.copy(os.fspath(fresh), compact=True)
        copy = fresh / directories.DATA_FILE
        copy.chmod(0o600)
        freed = end_bytes - copy.stat().st_size
        # Neither is synced: what was open when the machine crashed is trusted by nobody.
        directories.note_open(directory, boot_id)
        copy.replace(file)
        return freed
    except (lmdb.Error, OSError, ReplicaUnusable):
        return 0
    finally:
        with suppress(OSError):
            shutil.rmtree(fresh)


def _used_bytes(environment: lmdb.Environment) -> int:
    used = 0
    databases = [environment.open_db(name, create=False) for name in TABLE_NAMES]
    with environment.begin() as transaction:
        for database in databases:
            pages = transaction.stat(database)
            used += pages["psize"] * (
                pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"]
            )
    return used
