"""The only host loses its power: sessions come back, and logouts stay."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession.core.state import Change
from clustersession.replica import home as homes
from clustersession.replica.home import NodeHome, open_node_replica
from clustersession.replica.journal import keeper as keeping
from clustersession.replica.journal.reading import JournalReading
from clustersession.replica.journal.segments import (
    JournalMark,
    read_mark,
    remove_unwanted,
    segments_of,
)
from clustersession.replica.opening import LmdbReplica
from clustersession.settings.settings import Settings
from clustersession.wire.journal import JournalMembers, JournalSynced
from clustersession.worker import local_journal
from clustersession.worker.host_clock import HostClock, kernel_ms
from clustersession.worker.local_journal import LocalJournal
from clustersession.worker.local_only import LocalOnly
from tests.replica.replica_checks import creation, key_of
from tests.support.waiting import wait_until

SETTINGS = Settings(map_bytes=2**28)


class Host:
    """Is a host with one process, and its node's files."""

    def __init__(self, directory: Path, settings: Settings = SETTINGS) -> None:
        self.home = NodeHome(directory)
        self.replica: LmdbReplica = open_node_replica(self.home, settings)
        self.journal = LocalJournal(self.home, settings, self.replica, kernel_ms)
        self.port = LocalOnly(
            "a", self.replica, HostClock(1000), journal=self.journal, fetch_timeout_s=5.0
        )

    def commit(self, *changes: Change, ends: bool = False) -> None:
        head = self.replica.commit(changes, kernel_ms()).head
        assert self.port.confirm(head, ends=ends)

    def log_in(self, *numbers: int) -> None:
        now_ms = kernel_ms()
        self.commit(*(creation(number, {"a": b"1"}, wall_ms=now_ms) for number in numbers))

    def log_out(self, number: int) -> None:
        self.commit(Change(key_of(number), kernel_ms(), end="invalidated"), ends=True)

    def live(self) -> set[str]:
        page = self.replica.snapshot("", 2**30)
        return {key for key, state in page.sessions if state.ended is None}

    def is_kept(self, *numbers: int) -> bool:
        pages = JournalReading(self.home.journal).sessions()
        return {key_of(n) for n in numbers} <= {key for page in pages for key, _ in page}

    def close(self) -> None:
        self.journal.close()
        self.replica.close()


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Host]]:
    """The host at each of its boots."""
    monkeypatch.setattr(keeping, "SYNC_INTERVAL_S", 0.02)
    monkeypatch.setattr(local_journal, "TRY_INTERVAL_S", 0.02)
    hosts: list[Host] = []
    yield hosts
    for host in hosts:
        host.close()


def boot(boots: list[Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Start the host, after the power went while it ran: nothing that was open is closed."""
    directory = tmp_path / f"boot-{len(boots)}" / "node"
    if boots:
        # A copy takes its time, other than a power cut: nothing must be removed meanwhile.
        wait_until(lambda: _is_settled(boots[-1]))
        shutil.copytree(boots[-1].home.directory, directory)
        (directory / "replica" / "data.mdb").write_bytes(b"garbage" * 9000)
    monkeypatch.setattr(homes, "boot_id", lambda: str(directory))
    boots.append(Host(directory))
    return boots[-1]


def test_sessions_come_back_and_logouts_stay(
    boots: list[Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = boot(boots, tmp_path, monkeypatch)
    first.log_in(1, 2, 3)
    first.log_out(2)
    wait_until(lambda: first.is_kept(1, 3) and read_mark(first.home.journal))
    for _ in range(2):
        host = boot(boots, tmp_path, monkeypatch)
        assert host.replica.set_aside is not None
        host.port.fetch(key_of(1))
        assert host.replica.get(key_of(1)) is not None
        wait_until(lambda host=host: not host.journal.waits())
        assert host.live() == {key_of(1), key_of(3)}
        assert not host.port.fetch(key_of(9)), "and nobody waits for what never was"
        wait_until(lambda host=host: _is_settled(host))
    third = boots[-1]
    third.log_in(4)
    wait_until(lambda: third.is_kept(4))
    last = boot(boots, tmp_path, monkeypatch)
    last.port.fetch(key_of(4))
    assert last.live() == {key_of(1), key_of(3), key_of(4)}


def _is_settled(host: Host) -> bool:
    keeper, mark = host.journal._keeper, read_mark(host.home.journal)
    is_ours = mark is not None and mark.node == host.replica.node
    return is_ours and keeper is not None and keeper.state.rewritings > 0


def test_an_end_is_on_the_disk_before_the_answer(
    boots: list[Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = boot(boots, tmp_path, monkeypatch)
    host.log_in(1, 2)
    wait_until(lambda: host.is_kept(1, 2))
    monkeypatch.setattr(keeping, "SYNC_INTERVAL_S", 1000.0)
    host.log_out(1)
    pages = JournalReading(host.home.journal).ends()
    assert key_of(1) in {key for page in pages for key, _ in page}


async def test_another_process_of_the_host_writes_its_ends_itself(
    boots: list[Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = boot(boots, tmp_path, monkeypatch)
    host.log_in(1)
    wait_until(lambda: host.is_kept(1))
    # As of a process that was not elected.
    monkeypatch.setattr(LocalJournal, "_is_elected", lambda self: False)
    other = LocalJournal(host.home, SETTINGS, host.replica, kernel_ms)
    other.moved()
    now_ms = kernel_ms()
    head = host.replica.commit([Change(key_of(1), now_ms, end="invalidated")], now_ms).head
    await other.keep_ends_async(head)
    pages = JournalReading(host.home.journal).ends()
    assert key_of(1) in {key for page in pages for key, _ in page}
    assert not other.waits()
    other.close()


def test_what_had_peers_is_not_served_alone(
    boots: list[Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = boot(boots, tmp_path, monkeypatch)
    host.log_in(1)
    wait_until(lambda: host.is_kept(1) and read_mark(host.home.journal))
    assert host.journal._keeper is not None
    host.journal._keeper.append([JournalMembers(1, {b"peerpeer": "b"})])
    again = boot(boots, tmp_path, monkeypatch)
    wait_until(lambda: not again.journal.waits())
    assert again.live() == set()
    assert "had peers then" in caplog.text


def test_who_looks_while_the_recovery_ends_does_not_wait_for_ever(
    boots: list[Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = boot(boots, tmp_path, monkeypatch).journal

    def ends_meanwhile(directory: Path) -> JournalMark:
        journal._waits = False
        return JournalMark(b"formerly", 1)

    journal._waits = True
    monkeypatch.setattr(local_journal, "read_mark", ends_meanwhile)
    journal.waits()
    assert not journal._waits


def test_what_a_damaged_journal_says_of_live_sessions_is_not_believed(
    boots: list[Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One of them may have ended where nothing can be read."""
    host = boot(boots, tmp_path, monkeypatch)
    host.log_in(1, 2)
    host.log_out(2)
    wait_until(lambda: host.is_kept(1) and read_mark(host.home.journal))
    keeper = host.journal._keeper
    assert keeper is not None
    path = segments_of(host.home.journal)[-1]
    keeper.append([JournalSynced(path.stat().st_size)])
    end_at = path.read_bytes().rindex(b"invalidated")
    with path.open("r+b") as file:
        file.seek(end_at)
        file.write(b"INVALIDATED")
    again = boot(boots, tmp_path, monkeypatch)
    wait_until(lambda: not again.journal.waits())
    assert again.live() == set()
    assert "cannot be read" in caplog.text


def test_a_journal_that_nobody_keeps_goes(
    boots: list[Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = boot(boots, tmp_path, monkeypatch)
    host.log_in(1)
    wait_until(lambda: host.is_kept(1))
    host.close()
    remove_unwanted(host.home.journal)
    assert not host.home.journal.exists()
    remove_unwanted(host.home.journal)
