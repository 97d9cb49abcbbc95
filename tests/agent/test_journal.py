"""A node and the files of its journal: what is synced is told, what was there comes back."""

import asyncio
import threading
from pathlib import Path

import pytest

from clustersession.agent import journal as agent_journal
from clustersession.agent.driver import Driver, moment
from clustersession.agent.journal import AgentJournal
from clustersession.core.state import Change, Creation
from clustersession.replica.home import NodeHome
from clustersession.replica.journal import keeper as keeping
from clustersession.replica.journal.reading import JournalReading
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire.journal import JournalMembers
from tests.node.world import key
from tests.support.processes import free_port
from tests.support.waiting import until

PEER = b"peerpeer"


def driver(directory: Path, node: bytes, **settings: object) -> Driver:
    values = Settings(
        distributable=True, route="a", bind="127.0.0.1", secret=("s" * 32,), multicast_address="",
        port=free_port(), port_range=1, **settings,  # type: ignore[arg-type]
    )
    replica = open_memory(node, clock_skew_ms_max=300_000)
    return Driver(values, replica, NodeHome(directory))


def commit(made: Driver, number: int, end: str | None = None) -> None:
    wall_ms = moment().wall_ms
    creation = None if end else Creation(wall_ms, wall_ms + 86_400_000, 0)
    made.replica.commit([Change(key(number), wall_ms, creation=creation, end=end)], wall_ms)
    made.feed_moved()


def live(replica: Replica) -> set[str]:
    return {key for key, state in replica.snapshot("", 2**30).sessions if state.ended is None}


def kept(directory: Path) -> set[str]:
    pages = JournalReading(directory / "journal").sessions()
    return {key for page in pages for key, _ in page}


async def with_sessions(directory: Path) -> None:
    """A node that has sessions 1 and 2, and has ended 2, loses its replica."""
    first = driver(directory, b"firstone")
    await first.start()
    commit(first, 1)
    commit(first, 2)
    commit(first, 2, end="invalidated")
    await until(lambda: kept(directory) == {key(1), key(2)})
    assert first.journal is not None
    assert first.journal.status()["durability"] == "second"
    await first.stop()


async def test_a_replica_that_is_lost_comes_back_out_of_the_journal(tmp_path: Path) -> None:
    await with_sessions(tmp_path)
    second = driver(tmp_path, b"second!!")
    await second.start()
    await until(lambda: second.engine.recovery.is_over)
    assert live(second.replica) == {key(1)}
    assert second.event_log.events["journal_found"] == second.event_log.events["recovered"] == 1
    assert second.journal is not None
    await until(lambda: second.journal is not None and second.journal.status()["rewritings"])
    await second.stop()
    third = driver(tmp_path, b"thirdone")
    await third.start()
    await until(lambda: third.engine.recovery.is_over)
    assert live(third.replica) == {key(1)}
    await third.stop()


async def test_what_a_missing_member_may_have_ended_waits_for_the_operator(tmp_path: Path) -> None:
    await with_sessions(tmp_path)
    keeper = keeping.JournalKeeper(
        tmp_path / "journal", open_memory(b"firstone", clock_skew_ms_max=1),
        keeping.JournalListener(),
    )
    keeper.append([JournalMembers(1, {PEER: "b"})])
    keeper.close()
    second = driver(tmp_path, b"second!!")
    await second.start()
    await until(lambda: second.event_log.events["recovery_waits"])
    assert second.engine.recovery.status(moment()).missing == {PEER: "b"}
    assert live(second.replica) == set()
    second.engine.dismiss([PEER], moment())
    second.pump(moment())
    await until(lambda: second.engine.recovery.is_over)
    assert live(second.replica) == {key(1)}
    await second.stop()


async def test_a_disk_that_fails_is_told_to_the_node_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "AGAIN_S", 0.05)
    tested = driver(tmp_path, b"firstone")
    await tested.start()

    def fail(*arguments: object) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as failing:
        failing.setattr(keeping.Segment, "sync", fail)
        commit(tested, 1)
        await until(lambda: not tested.engine.context.journal.works)
        assert tested.event_log.events["journal_failed"] == 1
    await until(lambda: tested.event_log.events["journal_works"])
    assert tested.engine.context.journal.works
    assert key(1) in kept(tmp_path)
    await tested.stop()


async def test_a_slow_disk_is_told_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SLOW_S", 0.0)
    tested = driver(tmp_path, b"firstone")
    await tested.start()
    commit(tested, 1)
    await until(lambda: tested.event_log.events["journal_slow"])
    await tested.stop()


async def test_an_answer_after_the_end_of_the_loop_is_nobodys(tmp_path: Path) -> None:
    tested = driver(tmp_path, b"firstone")
    assert isinstance(tested.journal, AgentJournal)
    await tested.journal.open()
    closed = asyncio.new_event_loop()
    closed.close()
    tested.journal._loop = closed
    tested.journal._on_synced(1)


async def test_memory_is_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_journal, "file_system_here", lambda directory: "tmpfs")
    tested = driver(tmp_path, b"firstone")
    await tested.start()
    assert tested.event_log.events["journal_in_memory"] == 1
    await tested.stop()


async def test_what_was_appended_is_brought_to_the_disk_though_the_interpreter_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_others = set(threading.enumerate())
    made = driver(tmp_path, b"onlyone1")
    await made.start()
    commit(made, 1)
    await until(lambda: kept(tmp_path) == {key(1)})
    mine = [t for t in set(threading.enumerate()) - of_others if t.name == "clustersession-journal"]

    def refuse(*arguments: object) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr(asyncio, "to_thread", refuse)
    await made.stop()
    assert made.journal is not None
    assert len(mine) == 1
    assert not mine[0].is_alive()
