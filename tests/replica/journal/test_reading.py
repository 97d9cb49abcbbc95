"""What comes out of a journal: whole sessions, its ends first, and what could not be read."""

from pathlib import Path

from clustersession.core.state import Change
from clustersession.replica.journal.reading import JournalReading
from clustersession.replica.journal.segments import Segment, segments_of
from clustersession.replica.replica import Replica
from clustersession.wire.journal import (
    JournalCopies,
    JournalEntry,
    JournalLife,
    JournalMembers,
    JournalSynced,
)
from tests.replica.replica_checks import NODE_A, NODE_B, WALL_MS, creation, end, key_of, sessions_of


def changes(replica: Replica, *made: Change) -> JournalCopies:
    """Commit, and return what a journal takes of it."""
    before = replica.head()
    replica.commit(made, WALL_MS)
    batch = replica.feed(before, before, 2**20)
    return JournalCopies(batch.upto, batch.deltas)


def write(directory: Path, *entries: JournalEntry) -> Path:
    segment = Segment.begin(directory)
    segment.append(entries)
    segment.close()
    return segment.path


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 255
    path.write_bytes(data)


def test_sessions_come_whole_and_once(tmp_path: Path, replica: Replica) -> None:
    first = changes(replica, creation(1, {"a": b"1"}), creation(2, {"a": b"2"}))
    write(tmp_path / "j", first, changes(replica, Change(key_of(1), WALL_MS + 9, {"b": b"3"})))
    write(tmp_path / "j", changes(replica, Change(key_of(1), WALL_MS, {"a": b"4"}), end(2)))
    found = [one for page in JournalReading(tmp_path / "j").sessions() for one in page]
    assert dict(found) == sessions_of(replica)
    assert len(found) == 2
    [[(key, ended)]] = JournalReading(tmp_path / "j").ends()
    assert (key, ended.ended is None) == (key_of(2), False), "and nothing that lives beside it"


def test_a_change_without_its_beginning_is_no_session(tmp_path: Path, replica: Replica) -> None:
    changes(replica, creation(1, {"a": b"1"}))
    later = changes(replica, Change(key_of(1), WALL_MS, {"b": b"3"}))
    assert not later.deltas[0].full
    write(tmp_path / "j", later)
    assert [*JournalReading(tmp_path / "j").sessions()] == [[]]


def test_the_newest_word_on_the_node_counts(tmp_path: Path, replica: Replica) -> None:
    copies = changes(replica, creation(1))
    write(tmp_path / "j", JournalLife(NODE_B), JournalMembers(1, {NODE_A: "a"}), copies)
    reading = JournalReading(tmp_path / "j")
    assert (reading.look().own_upto, reading.found.whole) == (1, True)
    write(tmp_path / "j", JournalLife(NODE_A, [NODE_B]), JournalMembers(2, {NODE_B: "b"}))
    found = JournalReading(tmp_path / "j").look()
    assert found.life == JournalLife(NODE_A, [NODE_B])
    assert found.members == JournalMembers(2, {NODE_B: "b"})
    assert found.own_upto == 0, "that was another feed"


def test_a_torn_tail_is_told_and_harms_nothing(tmp_path: Path, replica: Replica) -> None:
    path = write(tmp_path / "j", changes(replica, creation(1)), changes(replica, creation(2)))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3)
    reading = JournalReading(tmp_path / "j")
    assert reading.look().whole
    assert reading.found.bytes_lost > 0
    assert [key for page in reading.sessions() for key, _ in page] == [key_of(1)]


def test_what_was_on_the_disk_and_is_lost_makes_it_less_than_whole(
    tmp_path: Path, replica: Replica
) -> None:
    first, second = changes(replica, creation(1)), changes(replica, creation(2))
    segment = Segment.begin(tmp_path / "j")
    segment.append([first])
    place = segment.size
    segment.append([second])
    segment.append([JournalSynced(place), changes(replica, creation(3))])
    segment.close()
    spoil(segment.path, place + 20)
    assert JournalReading(tmp_path / "j").look().whole, "it was not known to be on the disk"
    spoil(segment.path, place - 1)
    found = JournalReading(tmp_path / "j").look()
    assert not found.whole
    assert found.lost_in == [segment.path.name]
    reading = JournalReading(tmp_path / "j")
    assert [key for page in reading.sessions() for key, _ in page] == [key_of(3)]


def test_behind_a_damage_nothing_claims_to_hold_what_was_lost(
    tmp_path: Path, replica: Replica
) -> None:
    first = changes(replica, creation(1, {"a": b"1"}))
    lost = changes(replica, Change(key_of(1), WALL_MS, {"b": b"2"}))
    last = changes(replica, Change(key_of(1), WALL_MS, {"c": b"3"}))
    segment = Segment.begin(tmp_path / "j")
    segment.append([first])
    place = segment.size
    segment.append([lost, last])
    segment.close()
    spoil(segment.path, place + 15)
    [[(_, state)]] = JournalReading(tmp_path / "j").sessions()
    assert {"a", "c"} <= set(state.registers)
    assert state.versions == {NODE_A: 1}, "or nobody would ever send b"


def test_behind_a_damage_no_later_segment_claims_to_hold_what_was_lost(
    tmp_path: Path, replica: Replica
) -> None:
    """A segment that is begun may reach the disk before the end of the one that it follows."""
    path = write(
        tmp_path / "j", changes(replica, creation(1, {"a": b"1"})),
        changes(replica, Change(key_of(1), WALL_MS, {"b": b"2"})),
    )
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3)
    last = changes(replica, Change(key_of(1), WALL_MS, {"c": b"3"}))
    write(tmp_path / "j", last)
    [[(_, state)]] = JournalReading(tmp_path / "j").sessions()
    assert {"a", "c"} <= set(state.registers)
    assert state.versions == {NODE_A: 1}, "or nobody would ever send b"


def test_a_segment_without_a_beginning_is_lost(tmp_path: Path, replica: Replica) -> None:
    path = write(tmp_path / "j", changes(replica, creation(1)))
    write(tmp_path / "j", changes(replica, creation(2)))
    spoil(path, 0)
    reading = JournalReading(tmp_path / "j")
    assert not reading.look().whole
    assert [key for page in reading.sessions() for key, _ in page] == [key_of(2)]
    assert len(segments_of(tmp_path / "j")) == 2
