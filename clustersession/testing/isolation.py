"""Gives a block of code the isolation of a run of tests, whatever runs it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clustersession.settings.sources import TEST_STATE_DIR_VARIABLE
from clustersession.worker.run_of_tests import block_kept_apart, hold, name_prefix, remove
from clustersession.worker.runtime import opened_runtimes


@contextmanager
def isolated() -> Iterator[Path]:
    """Keep sessions in a directory of their own, with no peers, until the block is left.

    For unittest, behave, scripts: pytest and ``manage.py test`` are kept apart without it. Programs
    that are started within have the directory too. What this process had open before is closed.
    """
    close_all()
    before = os.environ.get(TEST_STATE_DIR_VARIABLE)
    place = Path(tempfile.mkdtemp(prefix=name_prefix()))
    hold(place)
    os.environ[TEST_STATE_DIR_VARIABLE] = str(place)
    try:
        with block_kept_apart():
            yield place
    finally:
        close_all()
        if before is None:
            del os.environ[TEST_STATE_DIR_VARIABLE]
        else:
            os.environ[TEST_STATE_DIR_VARIABLE] = before
        remove(place)


def close_all() -> None:
    """Close the nodes that this process has open; an application opens its own again."""
    for runtime in opened_runtimes():
        runtime.close()
