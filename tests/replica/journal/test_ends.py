"""Ends that a process writes into the journal of another one."""

from pathlib import Path

from clustersession.replica.journal.ends import PLACES, ends_before, keep_ends
from clustersession.replica.journal.reading import JournalReading
from clustersession.replica.replica import Replica
from tests.replica.replica_checks import WALL_MS, creation, end, key_of


def test_ends_beside_other_changes_are_found(tmp_path: Path, replica: Replica) -> None:
    replica.commit([creation(n) for n in range(PLACES)], WALL_MS)
    head = replica.commit([end(5), creation(500)], WALL_MS).head
    replica.commit([creation(501)], WALL_MS)
    assert [delta.key for delta in ends_before(replica, head)] == [key_of(5)]
    keep_ends(tmp_path / "j", replica, head)
    keep_ends(tmp_path / "j", replica, head)
    pages = JournalReading(tmp_path / "j").ends()
    assert {key for page in pages for key, _ in page} == {key_of(5)}


def test_an_end_behind_large_changes_is_found(replica: Replica) -> None:
    """Of all that was written beside it, only so much is read at a time."""
    for number in range(9):
        replica.commit([creation(number, {"a": bytes(2**18)})], WALL_MS)
    head = replica.commit([end(5)], WALL_MS).head
    assert [delta.key for delta in ends_before(replica, head)] == [key_of(5)]
