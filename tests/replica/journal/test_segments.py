"""The files of a journal: numbered, private, marked, and one process at a time."""

from pathlib import Path

import pytest

from clustersession.core.errors import WireError
from clustersession.replica.journal.segments import (
    JournalMark,
    Segment,
    others_wait,
    read_mark,
    remove_journal,
    remove_segments,
    segments_of,
    write_mark,
)
from clustersession.wire.journal import JournalSynced, salt_of
from tests.replica.replica_checks import NODE_A


def test_segments_follow_each_other(tmp_path: Path) -> None:
    for _ in range(3):
        Segment.begin(tmp_path / "j").close()
    names = [path.name for path in segments_of(tmp_path / "j")]
    assert names == ["00000001.log", "00000002.log", "00000003.log"]
    remove_segments(segments_of(tmp_path / "j")[:2])
    Segment.begin(tmp_path / "j").close()
    assert segments_of(tmp_path / "j")[-1].name == "00000004.log"
    salts = {salt_of(path.read_bytes()) for path in segments_of(tmp_path / "j")}
    assert len(salts) == 2
    assert segments_of(tmp_path / "none") == []


def test_another_process_goes_on_in_the_last_one(tmp_path: Path) -> None:
    first = Segment.last(tmp_path / "j")
    first.append([JournalSynced(1)])
    again = Segment.last(tmp_path / "j")
    assert (again.path, again.salt) == (first.path, first.salt)
    again.append([JournalSynced(2)])
    assert first.size == again.size
    first.path.write_bytes(b"damaged")
    assert Segment.last(tmp_path / "j").path != first.path
    with pytest.raises(WireError):
        salt_of(first.path.read_bytes())


def test_a_journal_goes_with_its_mark(tmp_path: Path) -> None:
    write_mark(tmp_path / "j", JournalMark(NODE_A, 7))
    write_mark(tmp_path / "j", JournalMark(NODE_A, 7))
    Segment.begin(tmp_path / "j").close()
    with others_wait(tmp_path / "j"):
        pass
    assert read_mark(tmp_path / "j") == JournalMark(NODE_A, 7)
    remove_journal(tmp_path / "j")
    assert not (tmp_path / "j").exists()
    remove_journal(tmp_path / "j")
