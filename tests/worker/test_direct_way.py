"""Tests which writes may go around the agent, and that whoever goes first is asked first."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clustersession.core.elements import LIST, Addition, ElementWrites, group_of
from clustersession.core.revocation import revoke
from clustersession.core.state import (
    ENDED_INVALIDATED,
    IDLE_TIMEOUT,
    LOCAL_PREFIX,
    PRINCIPAL,
    Change,
    Creation,
)
from clustersession.replica.home import NodeHome
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire.local import Operation
from clustersession.worker.agent_client import AgentClient
from clustersession.worker.direct_way import PlainWrite, plain_write

NOW_MS = 1_790_000_000_000
NODE = b"n" * 8
KEY = "1" * 23


class Way:
    """Confirms as told."""

    def __init__(self, confirms: bool) -> None:
        self.confirms = confirms
        self.asked: list[PlainWrite] = []

    def confirm(self, write: PlainWrite) -> bool:
        self.asked.append(write)
        return self.confirms

    async def confirm_async(self, write: PlainWrite) -> bool:
        return self.confirm(write)

    def close(self) -> None:
        self.asked.clear()


@pytest.fixture
def replica() -> Replica:
    replica = open_memory(NODE, clock_skew_ms_max=300_000)
    creation = Creation(NOW_MS, NOW_MS + 3_600_000, 60_000)
    replica.commit([Change(KEY, NOW_MS, {"a": b"1", "b": b"1"}, creation=creation)], NOW_MS)
    return replica


def _write(replica: Replica, *changes: Change) -> PlainWrite | None:
    committed = replica.commit(changes, NOW_MS + 1)
    return plain_write(committed.head, committed.stored)


def test_a_plain_write_has_what_it_has_written_and_what_it_stands_on(replica: Replica) -> None:
    write = _write(replica, Change(KEY, NOW_MS + 1, {"a": b"2"}, ("b",)))
    assert write is not None
    assert (write.key, write.node, write.seq, write.base) == (KEY, NODE, 2, 1)
    assert {name: each.value for name, each in write.part.registers.items()} == {
        "a": b"2", "b": None,
    }
    assert write.part.versions == {NODE: 2}
    assert write.part.accessed_ms == NOW_MS + 1
    assert write.state == replica.get(KEY)


def test_an_access_and_what_stays_here_have_no_registers(replica: Replica) -> None:
    for change in (Change(KEY, NOW_MS + 9), Change(KEY, NOW_MS + 9, {LOCAL_PREFIX + "x": b"1"})):
        write = _write(replica, change)
        assert write is not None
        assert write.part.registers == {}


@pytest.mark.parametrize("changes", [
    [Change(KEY, NOW_MS, end=ENDED_INVALIDATED)],
    [Change(KEY, NOW_MS, {PRINCIPAL: b"ann"})],
    [Change(KEY, NOW_MS, {IDLE_TIMEOUT: b"1000"})],
    [Change("2" * 23, NOW_MS, {"a": b"1"}, creation=Creation(NOW_MS, NOW_MS + 9000, 0))],
    [Change(KEY, NOW_MS, {"a": b"2"}), Change(KEY, NOW_MS, {"a": b"3"})],
    [revoke("ann", "", NOW_MS, 60_000)],
    [Change("3" * 23, NOW_MS, {"a": b"2"})],
])  # fmt: skip
def test_no_other_write_is_plain(replica: Replica, changes: Sequence[Change]) -> None:
    assert _write(replica, *changes) is None


def test_a_write_of_several_times_is_not_plain(replica: Replica) -> None:
    group = group_of(LIST, "cart")
    replica.commit([Change(KEY, NOW_MS, elements=ElementWrites((Addition(group, b"1"),)))], NOW_MS)
    state = replica.get(KEY)
    assert state is not None
    seen = {name: r for name, r in state.registers.items() if name.startswith(group)}
    [(name, register)] = seen.items()
    mixed = Change(KEY, NOW_MS, {"a": b"2"}, elements=ElementWrites((), seen))
    assert _write(replica, mixed) is None
    later = ElementWrites((Addition(group, b"2"),))
    assert _write(replica, Change(KEY, NOW_MS, elements=later)) is not None
    after = replica.get(KEY)
    assert after is not None
    assert after.registers[name].time > register.time, "its place was used again"


async def test_direct_ways_are_asked_in_their_order(replica: Replica, tmp_path: Path) -> None:
    settings = Settings(
        distributable=True, route="a", secret=("s" * 32,), agent="external", ack_timeout_s=0.05
    )
    client = AgentClient(settings, NodeHome(tmp_path), replica)
    refuses, confirms = Way(False), Way(True)
    client._direct_ways += [refuses, confirms]
    try:
        committed = replica.commit([Change(KEY, NOW_MS, {"a": b"2"})], NOW_MS)
        assert client.confirm(committed.head, committed.stored)
        assert await client.confirm_async(committed.head, committed.stored)
        assert len(refuses.asked) == len(confirms.asked) == 2
        confirms.confirms = False
        assert not client.confirm(7), "a head without a write asks the agent alone"
        assert len(refuses.asked) == 2
        assert not client.confirm(committed.head, committed.stored), "as there is no agent"
        assert len(refuses.asked) == len(confirms.asked) == 3
    finally:
        client.close()


async def test_the_agent_is_given_the_time_that_a_way_has_left(
    replica: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more, its word that a write is not confirmed would come when we take it for dead."""

    now_s = [7.0]

    class SlowWay(Way):
        def confirm(self, write: PlainWrite) -> bool:
            now_s[0] += 0.03
            return super().confirm(write)

    asked: list[tuple[int, float]] = []

    def ask(operation: Operation, *argument: Any, timeout_s: float) -> None:
        asked.append((argument[2], timeout_s))

    async def ask_async(operation: Operation, *argument: Any, timeout_s: float) -> None:
        asked.append((argument[2], timeout_s))

    settings = Settings(
        distributable=True, route="a", secret=("s" * 32,), agent="external", ack_timeout_s=0.5
    )
    client = AgentClient(settings, NodeHome(tmp_path), replica)
    client._direct_ways.append(SlowWay(False))
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(client, "_ask", ask)
    monkeypatch.setattr(client, "_ask_async", ask_async)
    try:
        committed = replica.commit([Change(KEY, NOW_MS, {"a": b"2"})], NOW_MS)
        assert not client.confirm(committed.head, committed.stored)
        assert not await client.confirm_async(committed.head, committed.stored)
        for told_ms, waits_s in asked:
            assert told_ms <= waits_s * 1000 < 471
        assert not client.confirm(7)
        assert asked[2] == (500, 0.5)
    finally:
        client.close()
