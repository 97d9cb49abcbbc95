"""The journal is there when it is needed: synced in time, bounded, and gone rather than wrong."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from clustersession.core.identity import JOURNALLED_STARTS_NOTE, STARTS_NOTE
from clustersession.core.state import SessionState
from clustersession.replica.journal import keeper as keeping
from clustersession.replica.journal.keeper import JournalListener
from clustersession.replica.journal.reading import JournalReading
from clustersession.replica.journal.segments import (
    JournalMark,
    read_mark,
    segments_of,
    write_mark,
)
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.wire.journal import JournalCopies, JournalEntry, JournalLife, JournalMembers
from tests.replica.journal.conftest import Keep
from tests.replica.replica_checks import NODE_A, NODE_B, SKEW_MS, WALL_MS, creation, end, key_of
from tests.support.waiting import wait_until

WAIT_S = 20.0


class Heard(JournalListener):
    """Notes what it is told, and waits for it."""

    def __init__(self) -> None:
        self.news: list[object] = []
        self._more = threading.Condition()
        super().__init__(
            synced=lambda number: self._note(number),
            failed=lambda why, again: self._note(("failed", why, again)),
            begun=lambda: self._note("begun"),
            works=lambda: self._note("works"),
        )

    def _note(self, news: object) -> None:
        with self._more:
            self.news.append(news)
            self._more.notify_all()

    def wait_for(self, news: object) -> None:
        with self._more:
            assert self._more.wait_for(lambda: news in self.news, WAIT_S), self.news


def copies(replica: Replica, after: int = 0) -> JournalCopies:
    batch = replica.feed(after, after, 2**20)
    return JournalCopies(batch.upto, batch.deltas)


def fill(replica: Replica, *numbers: int) -> None:
    replica.commit([creation(number, {"a": b"1"}) for number in numbers], WALL_MS)


def kept(directory: Path) -> dict[str, SessionState]:
    return dict(session for page in JournalReading(directory).sessions() for session in page)


def settled(made: "keeping.JournalKeeper", heard: Heard, number: int = 1) -> None:
    """Wait until everything before is on the disk, and a rewriting that was due is over."""
    made.append([JournalLife(NODE_A)], number)
    heard.wait_for(number)


def started(replica: Replica, start: int) -> None:
    """Note what a start of ours leaves before it does anything else."""
    for note in (JOURNALLED_STARTS_NOTE, STARTS_NOTE):
        replica.save_note(note, b"%d" % start)


def test_what_was_appended_is_on_the_disk_when_that_is_said(
    keep: Keep, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(
        keeping.os, "fdatasync",
        lambda descriptor: (real(descriptor), synced.append(os.fstat(descriptor).st_size)),
    )
    heard = Heard()
    made = keep(listener=heard)
    assert made.open() is None
    fill(replica, 1)
    made.append([copies(replica)], 7)
    heard.wait_for(7)
    assert synced
    assert set(kept(made.directory)) == {key_of(1)}
    assert made.directory.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in segments_of(made.directory)} == {0o600}


def test_it_goes_on_where_it_was(keep: Keep, replica: Replica) -> None:
    heard = Heard()
    first = keep(listener=heard)
    first.open()
    fill(replica, 1)
    members = JournalMembers(5, {NODE_B: "b"})
    first.append([JournalLife(NODE_A), members, copies(replica)], 1)
    heard.wait_for(1)
    first.close()
    again = keep()
    assert again.open() is None
    assert again.own_upto == 1
    fill(replica, 2)
    again.append([copies(replica, 1)])
    again.close()
    assert set(kept(again.directory)) == {key_of(1), key_of(2)}


def test_another_replica_gets_back_what_the_journal_has(keep: Keep, replica: Replica) -> None:
    first = keep()
    first.open()
    fill(replica, 1, 2)
    replica.commit([end(2)], WALL_MS)
    first.append([JournalLife(NODE_A), copies(replica)])
    first.close()
    fresh = open_memory(NODE_B, clock_skew_ms_max=SKEW_MS)
    second = keep(fresh)
    reading = second.open()
    assert reading is not None
    assert second.state.pending
    assert [key for page in reading.ends() for key, _ in page] == [key_of(2)]
    assert reading.found.life == JournalLife(NODE_A, [])
    assert reading.found.whole


def test_what_waits_stays_in_it_until_it_is_merged(keep: Keep, replica: Replica) -> None:
    first = keep()
    first.open()
    fill(replica, 1)
    first.append([JournalLife(NODE_A), copies(replica)])
    first.close()
    fresh = open_memory(NODE_B, clock_skew_ms_max=SKEW_MS)
    for _ in range(2):
        second = keep(fresh)
        reading = second.open()
        assert reading is not None, "also when the node is killed before that"
        reading.look()
        second.adopt(reading)
        second.append([JournalLife(NODE_B, [NODE_A])], 1)
        second.close()
        assert key_of(1) in kept(second.directory)
    last = keep(fresh)
    last.open()
    last.recovered()
    last.append([JournalLife(NODE_B, [NODE_A])], 1)
    wait_until(lambda: last.state.rewritings)
    last.close()
    again = keep(fresh)
    assert again.open() is None
    assert key_of(1) not in kept(again.directory), "it was dropped"


def test_what_an_older_version_has_seen_alone_makes_it_worthless(
    keep: Keep, replica: Replica
) -> None:
    heard = Heard()
    started(replica, 3)
    first = keep(listener=heard)
    first.open()
    fill(replica, 1)
    settled(first, heard)
    first.close()
    assert read_mark(first.directory) == JournalMark(NODE_A, 3)
    replica.save_note(STARTS_NOTE, b"4")
    later = keep()
    assert later.open() is None
    assert segments_of(later.directory) == []
    later.start()
    later.close()


@pytest.mark.parametrize(("start", "members"), [(4, {NODE_B: "b"}), (2, {})])
def test_a_start_that_was_killed_early_leaves_the_members_and_a_replica_set_back_does_not(
    keep: Keep, replica: Replica, start: int, members: dict[bytes, str]
) -> None:
    heard = Heard()
    started(replica, 3)
    first = keep(listener=heard)
    first.open()
    first.append([JournalMembers(1, {NODE_B: "b"})])
    settled(first, heard)
    first.close()
    started(replica, start)
    later = keep()
    assert later.open() is None
    assert later.members == members
    later.close()


def test_it_is_written_anew_when_it_has_grown(
    keep: Keep, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "GROWN_BYTES", 10_000)
    monkeypatch.setattr(keeping, "PAGE_BYTES", 500)
    heard = Heard()
    made = keep(listener=heard)
    made.open()
    fill(replica, *range(20))
    made.append([JournalLife(NODE_A), JournalMembers(1, {NODE_B: "b"})])
    number, at, deadline_s = 0, 0, time.monotonic() + 30
    while made.state.rewritings < 4:
        number += 1
        replica.commit([creation(number % 20, {"a": b"x" * 300})], WALL_MS)
        made.append([copies(replica, at)], number)
        at = replica.head()
        heard.wait_for(number)
        assert time.monotonic() < deadline_s
    made.close()
    assert sum(path.stat().st_size for path in segments_of(made.directory)) < 200_000
    assert len(segments_of(made.directory)) <= 2
    assert set(kept(made.directory)) == {key_of(n) for n in range(20)}
    reading = JournalReading(made.directory)
    reading.look()
    assert reading.found.members == JournalMembers(1, {NODE_B: "b"})
    assert reading.found.own_upto == replica.head()


@pytest.mark.parametrize("name", ["write", "fdatasync"])
def test_a_disk_that_fails_is_told_once_and_tried_again(
    keep: Keep, replica: Replica, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(keeping, "AGAIN_S", 0.02)
    heard = Heard()
    made = keep(listener=heard)
    made.open()
    fill(replica, 1)
    settled(made, heard)
    real = getattr(os, name)

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, name, fail)
    made.append([JournalLife(NODE_A)], 2)
    heard.wait_for(("failed", "No space left on device", False))
    assert made.state.failures >= 1
    assert read_mark(made.directory) is None, "an end may be missing from now on"
    fill(replica, 2)
    monkeypatch.setattr(os, name, real)
    heard.wait_for("works")
    made.append([JournalLife(NODE_A)], 3)
    heard.wait_for(3)
    assert heard.news.count(("failed", "No space left on device", False)) == 1
    assert set(kept(made.directory)) == {key_of(1), key_of(2)}
    assert read_mark(made.directory) == JournalMark(NODE_A, 0)


def test_ends_alone_are_kept_where_that_is_wanted(keep: Keep, replica: Replica) -> None:
    made = keep(ends_only=True)
    made.open()
    fill(replica, 1, 2)
    replica.commit([end(2)], WALL_MS)
    entries: list[JournalEntry] = [JournalLife(NODE_A), copies(replica)]
    made.append(entries)
    made.close()
    assert set(kept(made.directory)) == {key_of(2)}


def test_a_mark_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert read_mark(tmp_path) is None
    write_mark(tmp_path, JournalMark(NODE_A, 5))
    assert read_mark(tmp_path) == JournalMark(NODE_A, 5)
    for text in ("", "zz\n5\n", "00\n5\n", f"{NODE_A.hex()}\nx\n"):
        (tmp_path / "node").write_text(text)
        assert read_mark(tmp_path) is None
