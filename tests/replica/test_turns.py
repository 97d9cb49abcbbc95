"""Whoever has much to store makes way for others in between."""

import time
from collections.abc import Callable

import pytest

from clustersession.core.errors import ReplicaFull
from clustersession.core.feed import Cursor
from clustersession.replica import turns
from clustersession.replica.engines.memory import MemoryEngine
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.replica.turns import CountedTurn, TimedTurn, stand_back
from tests.replica.replica_checks import (
    NODE_A,
    NODE_B,
    SKEW_MS,
    WALL_MS,
    check,
    creation,
    sessions_of,
    write,
)


def in_turns(between: Callable[[], None]) -> Replica:
    return Replica(
        MemoryEngine(), lambda: NODE_B, clock_skew_ms_max=SKEW_MS,
        turn=lambda: CountedTurn(2), stand_back=between,
    )


def peer(count: int) -> Replica:
    replica = open_memory(NODE_A, clock_skew_ms_max=SKEW_MS)
    replica.commit([creation(number, {"a": b"1"}) for number in range(count)], WALL_MS)
    return replica


def test_others_write_between_the_turns_of_a_batch_and_the_cursor_moves_with_the_last() -> None:
    a, cursors = peer(5), []

    def between() -> None:
        cursors.append(b.cursors().get(NODE_A))
        b.commit([write(0, b=b"%d" % len(cursors))], WALL_MS)

    b = in_turns(between)
    applied = b.apply(a.feed(0, 0, 2**20), WALL_MS)
    assert cursors == [None, None]
    assert (applied.changed, applied.cursor) == (5, Cursor(5, 5))
    assert b.cursors() == {NODE_A: Cursor(5, 5)}
    check(b)


@pytest.mark.parametrize(("count", "pauses"), [(0, 0), (2, 0), (3, 1), (6, 2)])
def test_nobody_is_waited_for_after_the_last_turn(count: int, pauses: int) -> None:
    a, paused = peer(count), []
    b = in_turns(lambda: paused.append(1))
    b.apply(a.feed(0, 0, 2**20), WALL_MS)
    assert len(paused) == pauses
    c = in_turns(lambda: paused.append(1))
    assert c.merge(sessions_of(a).items(), WALL_MS) == count
    assert len(paused) == 2 * pauses
    check(c)


def test_what_is_refused_between_two_turns_comes_again() -> None:
    a = peer(5)

    def full() -> None:
        raise ReplicaFull("no space left")

    b = in_turns(full)
    with pytest.raises(ReplicaFull):
        b.apply(a.feed(0, 0, 2**20), WALL_MS)
    assert (len(sessions_of(b)), b.cursors()) == (2, {})
    check(b)
    b._stand_back = lambda: None
    assert b.apply(a.feed(0, 0, 2**20), WALL_MS).changed == 3
    assert sessions_of(b) == sessions_of(a)


def test_a_turn_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(turns.time, "monotonic", lambda: now_s[0])
    turn = TimedTurn()
    assert not turn.is_over()
    now_s[0] += turns.TURN_S
    assert turn.is_over()


def test_to_stand_back_is_to_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    stand_back()
    assert slept == [turns.PAUSE_S]
