"""A replica with a journal beside it, and how both are read again."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clustersession.replica.journal.keeper import JournalKeeper, JournalListener
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from tests.replica.replica_checks import NODE_A, SKEW_MS

Keep = Callable[..., JournalKeeper]


@pytest.fixture
def replica() -> Replica:
    return open_memory(NODE_A, clock_skew_ms_max=SKEW_MS)


@pytest.fixture
def keep(tmp_path: Path, replica: Replica) -> Iterator[Keep]:
    """Make a keeper of the journal, closed when the test is over."""
    made: list[JournalKeeper] = []

    def make(of: Replica = replica, listener: JournalListener | None = None, **more: object
             ) -> JournalKeeper:
        listener = listener or JournalListener()
        keeper = JournalKeeper(tmp_path / "journal", of, listener, **more)  # type: ignore[arg-type]
        made.append(keeper)
        return keeper

    yield make
    for keeper in made:
        keeper.close()
